"""One client's connection: uvicorn's, with bounds on what a client may hold."""

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gpuwatch_agent.api.replies import Problem

MOST_HEAD_BYTES = 65536
"""Of request line and headers; the parser itself has no bound."""


def _canned(status_line: str, problem: Problem) -> bytes:
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 {status_line}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_NOT_HTTP = _canned(
    "400 Bad Request",
    Problem(
        type="urn:gpuwatch:problem:bad-request",
        title="Bad Request",
        status=400,
        detail="This is not HTTP as we know it.",
    ),
)
_HEAD_TOO_LARGE = _canned(
    "431 Request Header Fields Too Large",
    Problem(
        type="urn:gpuwatch:problem:head-too-large",
        title="Request Header Fields Too Large",
        status=431,
        detail=f"Request line and headers may take {MOST_HEAD_BYTES} bytes.",
    ),
)
_TOO_MANY = _canned(
    "503 Service Unavailable",
    Problem(
        type="urn:gpuwatch:problem:too-many-connections",
        title="Service Unavailable",
        status=503,
        detail="Too many connections are open.",
        action="Close some, or ask again later.",
    ),
)


class BoundedConnection(HttpToolsProtocol):
    """Refuses what would grow without end; what does not move is cut off by `cut_off_idle`."""

    most_connections = 512

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed_bytes = 0
        self._seen: tuple[RequestResponseCycle | None, int] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        """Take the client in, or send it away when the house is full."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.write(_TOO_MANY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which keeps unfinished headers in memory."""
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Give the application a way to drop this connection."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort

    def on_headers_complete(self) -> None:
        """A whole head has come."""
        self._unparsed_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of body has come, and is not kept."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what can't be parsed as everything else is answered."""
        del msg
        self.transport.write(_NOT_HTTP)
        self.transport.close()

    def cut_off_idle(self) -> None:
        """Drop a client that got nowhere since the last call.

        That is one who sends a head by drops, or does not read its response; uvicorn's own time-out sees neither.
        """
        cycle: RequestResponseCycle | None = self.cycle
        at_work = cycle is not None and not cycle.response_complete and not self.flow.write_paused
        state = (cycle, self.transport.get_write_buffer_size())
        if not at_work and self._seen == state:
            self.transport.abort()
        self._seen = state
