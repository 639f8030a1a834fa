"""The API on a real socket of this machine, for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from msgspec import structs
from starlette.types import ASGIApp

from gpuwatch_agent.api.address import Address
from gpuwatch_agent.api.app import Application, create_app
from gpuwatch_agent.api.server import Server
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.api.stream_route import StreamRoute
from gpuwatch_agent.history import History
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.finding import FindingEvent
from support.sample_frames import sample_frame, sample_topology


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class RunningApi:
    """What a test may touch of a running API."""

    client: httpx.AsyncClient
    app: Application
    server: Server
    hub: FrameHub
    history: History
    clock: Clock
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    events: list[FindingEvent]

    @property
    def port(self) -> int:
        return self.server.address.port

    def publish(self, tick: int = 0) -> None:
        frame = sample_frame(tick)
        self.history.append(frame, self.clock())
        self.hub.publish(frame)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, request: bytes) -> bytes:
        """Send bytes as they are and read until the server closes."""
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    @property
    def open_streams(self) -> int:
        return sum(endpoint.open_streams for endpoint in self.app.endpoints if isinstance(endpoint, StreamRoute))


LOCAL = ApiSettings(address=Address(host="127.0.0.1", port=0))


@asynccontextmanager
async def running_api(
    settings: ApiSettings = LOCAL,
    *,
    mounts: Sequence[tuple[str, ASGIApp]] = (),
    on_hub: Callable[[FrameHub], Sequence[tuple[str, ASGIApp]]] = lambda _: (),
    frames: int = 1,
    topology: bool = True,
) -> AsyncIterator[RunningApi]:
    """Serve on a free port; whatever happens, the server has ended at the end. `on_hub` makes mounts that read frames."""
    clock = Clock()
    hub, history = FrameHub(clock), History()
    events: list[FindingEvent] = []
    wiring = sample_topology() if topology else None
    app = create_app(hub, history, lambda: wiring, settings, [*mounts, *on_hub(hub)], finding_events=lambda: events)
    # Tests of manners off loopback keep their settings and still listen on loopback only.
    server = Server(app, structs.replace(settings, address=LOCAL.address))
    server.bind()
    stop = asyncio.Event()
    serving = asyncio.create_task(server.serve(stop))
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.address.port}", trust_env=False, timeout=10)
    api = RunningApi(client, app, server, hub, history, clock, stop, serving, events)
    for tick in range(frames):
        api.publish(tick)
        clock.now += 1
    try:
        async with asyncio.timeout(30):
            yield api
    finally:
        await client.aclose()
        stop.set()
        async with asyncio.timeout(5):
            await serving


def with_api(
    check: Callable[[RunningApi], Awaitable[None]],
    settings: ApiSettings = LOCAL,
    *,
    mounts: Sequence[tuple[str, ASGIApp]] = (),
    frames: int = 1,
    topology: bool = True,
) -> None:
    """Run one check against a running API."""

    async def run() -> None:
        async with running_api(settings, mounts=mounts, frames=frames, topology=topology) as api:
            await check(api)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server's inner state tells nobody when it changes
            await asyncio.sleep(0)
