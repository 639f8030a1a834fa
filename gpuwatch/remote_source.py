"""A remote agent for commands that ask and wait."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gpuwatch.agent_address import agent_url, read_token
from gpuwatch.client import AgentClient
from gpuwatch_agent.model.errors import AgentUnreachableError
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.topology import Topology

if TYPE_CHECKING:
    import httpx

_RETRY_S = 2.0

T = TypeVar("T")


class RemoteSource:
    """Frames of the node where an agent answers."""

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        self._url = agent_url(url)
        self._token = read_token(token_file) if token_file is not None else None
        self._transport = transport
        self._wait = wait

    def frame(self, *, rates: bool) -> Frame:
        """The agent's latest moment; an agent always has its rates."""
        del rates
        return self._ask(AgentClient.frame)

    def topology(self) -> Topology:
        """The wiring of the agent's node."""
        return self._ask(AgentClient.topology)

    def frames(self, interval_s: float) -> Iterator[Frame]:
        """The agent's stream, thinned to the interval; when it breaks the last frame is kept, with the trouble told."""
        last = self.frame(rates=True)
        yield last
        shown_at = last.taken_at
        while True:
            try:
                for frame in self.stream():
                    if abs(frame.taken_at - shown_at) >= interval_s * 0.95:
                        yield frame
                        shown_at = frame.taken_at
                    last = frame
            except AgentUnreachableError as error:
                trouble = Trouble(
                    kind=error.kind, message=error.message, action="Shown is the last that was heard; trying again."
                )
                yield msgspec.structs.replace(last, trouble=trouble)
            self._pause()

    def stream(self) -> Iterator[Frame]:
        """Every frame the agent publishes, until the connection ends."""
        client = self._client()
        frames = client.stream()

        async def end() -> None:
            await frames.aclose()
            await client.close()

        with asyncio.Runner() as runner:
            try:
                while (frame := runner.run(_next(frames))) is not None:
                    yield frame
            finally:
                runner.run(end())

    def _client(self) -> AgentClient:
        return AgentClient(self._url, token=self._token, transport=self._transport)

    def _ask(self, question: Callable[[AgentClient], Awaitable[T]]) -> T:
        async def ask() -> T:
            client = self._client()
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(ask())

    def _pause(self) -> None:
        if self._wait is not None:
            self._wait(_RETRY_S)
            return
        import time

        time.sleep(_RETRY_S)


async def _next(frames: AsyncGenerator[Frame, None]) -> Frame | None:
    return await anext(frames, None)
