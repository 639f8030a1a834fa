"""Replies in plain ASGI: problem documents, JSON, compression, entity tags."""

from collections.abc import Sequence
from functools import lru_cache
from gzip import compress
from http import HTTPStatus

import msgspec
from starlette.types import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

WORTH_COMPRESSING = 1400
"""Below one packet compression saves nothing."""

_NO_STORE = (b"cache-control", b"no-store")
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_VARY = (b"vary", b"accept-encoding")
_GZIP = (b"content-encoding", b"gzip")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong with a request (RFC 9457), with what to do as `action`."""

    type: str
    title: str
    status: int
    detail: str
    action: str = ""


class ProblemError(Exception):
    """A request that can't be answered; the guard turns it into a problem document."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        action: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers
        self.problem = Problem(
            type=f"urn:gpuwatch:problem:{kind}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            action=action,
        )

    async def reply(self, scope: Scope, send: Send) -> None:
        """Send the problem document."""
        headers = [_PROBLEM, _NO_STORE, *self.headers]
        await send_reply(scope, send, self.status, headers, msgspec.json.encode(self.problem))


class Plain:
    """An endpoint that answers GET and HEAD; Starlette takes an instance as an ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on to `get`; nothing here waits for a body."""
        del receive
        require_reading(scope)
        await self.get(scope, send)

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer a GET; for HEAD the same, the body being left out on the way."""
        raise NotImplementedError


def require_reading(scope: Scope) -> None:
    """Refuse all methods but GET and HEAD."""
    if scope["method"] not in {"GET", "HEAD"}:
        raise ProblemError(
            405,
            "method-not-allowed",
            f"{scope['path']} does not take {scope['method']}.",
            "Allowed are: GET, HEAD.",
            [(b"allow", b"GET, HEAD")],
        )


async def send_reply(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a reply whose length is known; HEAD gets its headers only."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def send_json(scope: Scope, send: Send, value: object, status: int = 200) -> None:
    """Send a small answer that nobody may keep."""
    await send_reply(scope, send, status, [_JSON, _NO_STORE], msgspec.json.encode(value))


async def send_fresh(scope: Scope, send: Send, body: bytes, zipped: bytes | None) -> None:
    """Send JSON that is worked out anew each time, compressed where that has been done."""
    headers = [_JSON, _NO_STORE, _VARY]
    if zipped is not None:
        headers.append(_GZIP)
    await send_reply(scope, send, 200, headers, body if zipped is None else zipped)


class Tagged:
    """One representation with an entity tag, ready to be sent any number of times."""

    __slots__ = ("_body", "_full", "_not_modified", "_tag")

    def __init__(self, body: bytes, tag: str, *, gzipped: bool = False) -> None:
        self._tag = f'"{tag}{"-gzip" if gzipped else ""}"'.encode()
        kept = [(b"etag", self._tag), (b"cache-control", b"no-cache"), _VARY]
        length = (b"content-length", b"%d" % len(body))
        self._body = body
        self._full = [_JSON, *kept, length, _GZIP] if gzipped else [_JSON, *kept, length]
        self._not_modified = kept

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it, or 304 to somebody who has it."""
        known = headers_of(scope).get(b"if-none-match")
        if known is not None and self._matches(known):
            await send({"type": "http.response.start", "status": 304, "headers": self._not_modified})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": self._full})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self._body})

    def _matches(self, known: bytes) -> bool:
        return known.strip() == b"*" or any(tag.strip().removeprefix(b"W/") == self._tag for tag in known.split(b","))


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers by name; the guard has made sure that those that matter come once."""
    headers: dict[bytes, bytes] | None = scope.get("gpuwatch.headers")
    return headers if headers is not None else dict(scope["headers"])


def wants_gzip(scope: Scope) -> bool:
    """Whether the client takes gzip."""
    accepted = headers_of(scope).get(b"accept-encoding")
    return accepted is not None and _accepts_gzip(accepted)


@lru_cache(maxsize=64)
def _accepts_gzip(header: bytes) -> bool:
    weights: dict[bytes, bool] = {}
    for part in header.lower().split(b","):
        coding, _, weight = part.partition(b";")
        weights[coding.strip()] = weight.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
    return weights.get(b"gzip", weights.get(b"*", False))


def zipped(body: bytes) -> bytes:
    """Compress quickly rather than tightly."""
    return compress(body, compresslevel=1, mtime=0)
