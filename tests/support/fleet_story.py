"""Many nodes as the picker sees them: simulated machines behind a transport that needs no network."""

from collections.abc import Sequence
from typing import NamedTuple

import httpx
import msgspec
from msgspec import structs

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.feeds.unchosen import UnchosenFeed
from gpuwatch.tui.fleet import Fleet
from support.dashboard_story import story

_TROUBLED = {
    5: "dgx-h100-8+hot@5",
    11: "dgx-h100-8+nvlink-down@2",
    17: "dgx-h100-8+lost@3",
    23: "h200-8",
    29: "dgx-a100-8",
    31: "none",
    37: "dgx2-v100-16",
    41: "dgx-h100-8+stuck",
}
_SILENT = {13: "refused", 27: "timeout", 43: "token"}


class Served(NamedTuple):
    """A transport, and how often it was asked."""

    transport: httpx.MockTransport
    asked: list[str]


def spec_of(number: int) -> str:
    """Which machine stands behind that node."""
    return _TROUBLED.get(number, "dgx-h100-8")


def urls(count: int) -> list[str]:
    """The addresses of so many nodes."""
    return [f"http://node{number:02d}:9489" for number in range(count)]


def document(number: int, path: str = "/v1/snapshot") -> bytes:
    """What that node answers."""
    told = story(spec_of(number), 40)
    frame = told.frames[-(1 + number % 7) if number not in _TROUBLED else -1]
    if path == "/v1/topology":
        return msgspec.json.encode(told.topology)
    return msgspec.json.encode(structs.replace(frame, node=f"node{number:02d}"))


def served() -> Served:
    """All nodes; some refuse, some are silent, one wants a token."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.host.removeprefix("node"))
        asked.append(f"{request.url.host}{request.url.path}")
        manner = _SILENT.get(number)
        if manner == "refused":
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if manner == "timeout":
            raise httpx.ConnectTimeout("", request=request)
        if manner == "token":
            return httpx.Response(401, json={"detail": "no"})
        if request.url.path == "/v1/stream":
            event = b"id: 1\ndata: " + document(number) + b"\n\n"
            return httpx.Response(200, content=event, headers={"content-type": "text/event-stream"})
        if request.url.path in {"/v1/snapshot", "/v1/topology"}:
            return httpx.Response(200, content=document(number, request.url.path))
        return httpx.Response(404, json={"detail": "not here"})

    return Served(httpx.MockTransport(answer), asked)


def fleet_app(count: int, answering: Served | None = None, wanted: Sequence[str] | None = None) -> GpuwatchApp:
    """A dashboard that opens on the picker; its clock stands still at the nodes' last moment."""
    end = story("dgx-h100-8", 40).frames[-1].taken_at
    transport = (answering or served()).transport
    fleet = Fleet(wanted or urls(count), wall_clock=lambda: end, transport=transport)
    return GpuwatchApp(UnchosenFeed(), fleet=fleet, start_on="nodes", wall_clock=lambda: end)
