"""`/v1/stream`: every frame as a server-sent event, as far as the client keeps up."""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from gpuwatch_agent.api.replies import ProblemError, headers_of, require_reading
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.hub import FrameHub

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_RETRY = b"retry: 2000\n\n"
_HEARTBEAT = b": no new frame\n\n"


class StreamRoute:
    """A bounded number of streams; one that stalls is cut off, so that nothing piles up for it."""

    def __init__(self, hub: FrameHub, settings: ApiSettings) -> None:
        self._hub = hub
        self._settings = settings
        self._senders: set[asyncio.Task[None]] = set()

    @property
    def open_streams(self) -> int:
        """How many are being served now."""
        return len(self._senders)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client goes, stalls, or the agent ends."""
        require_reading(scope)
        if len(self._senders) >= self._settings.most_streams:
            raise ProblemError(
                503,
                "too-many-streams",
                f"{self._settings.most_streams} streams are open already.",
                "Close one, or ask /v1/snapshot instead.",
                [(b"retry-after", b"10")],
            )
        # A task of its own counts from here on: between the check and the first send others may come.
        sender = asyncio.create_task(self._stream(scope, send))
        watcher = asyncio.create_task(_client_gone(receive))
        self._senders.add(sender)
        try:
            await asyncio.wait({sender, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            watcher.cancel()
            await asyncio.gather(sender, watcher, return_exceptions=True)
            self._senders.discard(sender)
        if not sender.cancelled():
            sender.result()
        elif watcher.cancelled():
            # The agent ends, the client is still there: let its response end as a whole one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": b""})

    def close(self) -> None:
        """End all streams, each after a whole event."""
        for sender in self._senders:
            sender.cancel()

    async def _stream(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            await self._send_events(_last_event(scope), send)
        except TimeoutError:
            _abort(scope)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, sequence: int, send: Send) -> None:
        await self._send(send, _RETRY)
        while True:
            try:
                async with asyncio.timeout(self._settings.heartbeat_s):
                    published = await self._hub.wait_newer(sequence)
            except TimeoutError:
                await self._send(send, _HEARTBEAT)
                continue
            if published is None:
                return
            await self._send(send, published.event)
            sequence = published.sequence

    async def _send(self, send: Send, event: bytes) -> None:
        async with asyncio.timeout(self._settings.stall_s):
            await send({"type": "http.response.body", "body": event, "more_body": True})


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _last_event(scope: Scope) -> int:
    written = headers_of(scope).get(b"last-event-id", b"")
    return int(written) if written.isdigit() and len(written) <= 18 else 0


def _abort(scope: Scope) -> None:
    """Drop the connection with what it has not taken: closing would wait for a client that does not read."""
    abort: Callable[[], None] | None = scope.get("state", {}).get("abort")
    if abort is not None:
        abort()
