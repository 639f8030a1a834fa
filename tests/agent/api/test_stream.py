"""The stream: one frame an event, clients that keep up, that stall, that go, and an agent that ends."""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import structs

from gpuwatch_agent.model.frame import Frame
from support.running_api import LOCAL, RunningApi, until, with_api
from support.sample_frames import sample_frame


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[int, Frame]]:
    number = 0
    async for line in lines:
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            yield number, msgspec.json.decode(line[6:], type=Frame)


def test_every_frame_is_an_event() -> None:
    """The newest frame comes at once, the next ones as they are published, with their numbers."""

    async def check(api: RunningApi) -> None:
        async with api.client.stream("GET", "/v1/stream") as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["cache-control"] == "no-store"
            coming = events(response.aiter_lines())
            assert await anext(coming) == (1, sample_frame(0))
            for tick in (1, 2):
                api.publish(tick)
                assert await anext(coming) == (tick + 1, sample_frame(tick))

    with_api(check)


def test_coming_again_does_not_repeat_the_last_event() -> None:
    """With Last-Event-ID only what is newer comes; nonsense there is taken as none."""

    async def first(api: RunningApi, last: str) -> int:
        async with api.client.stream("GET", "/v1/stream", headers={"Last-Event-ID": last}) as response:
            number, _ = await anext(events(response.aiter_lines()))
            return number

    async def check(api: RunningApi) -> None:
        again = asyncio.create_task(first(api, "1"))
        await until(lambda: api.open_streams == 1)
        api.publish(5)
        assert await again == 2
        for nonsense in ("x", "-1", "", "9" * 400, "7"):
            assert await first(api, nonsense) == 2

    with_api(check)


def test_heartbeats_while_nothing_comes() -> None:
    """A comment shows proxies and clients that the stream lives, also before the first frame."""

    async def check(api: RunningApi) -> None:
        async with api.client.stream("GET", "/v1/stream") as response:
            lines = response.aiter_lines()
            seen = [await anext(lines) for _ in range(6)]
        assert seen[0] == "retry: 2000"
        assert seen.count(": no new frame") == 2

    with_api(check, structs.replace(LOCAL, heartbeat_s=0.01), frames=0)


def test_a_client_that_goes_is_forgotten() -> None:
    """Its place is free again, without waiting for the next frame."""

    async def check(api: RunningApi) -> None:
        async with api.client.stream("GET", "/v1/stream") as response:
            await anext(events(response.aiter_lines()))
            assert api.open_streams == 1
        await until(lambda: api.open_streams == 0)

    with_api(check)


def test_one_stream_too_many_is_told() -> None:
    """The bound is answered with a problem, and holds for no longer than the others stay."""

    async def check(api: RunningApi) -> None:
        async with api.client.stream("GET", "/v1/stream") as response:
            await anext(events(response.aiter_lines()))
            refused = await api.client.get("/v1/stream")
            assert refused.status_code == 503
            assert refused.json()["type"].endswith("too-many-streams")
        await until(lambda: api.open_streams == 0)
        async with api.client.stream("GET", "/v1/stream") as response:
            assert response.status_code == 200

    with_api(check, structs.replace(LOCAL, most_streams=1))


def stalled_client(port: int) -> socket.socket:
    """A client that asks for the stream and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def test_a_stalled_client_is_cut_off_and_holds_nobody() -> None:
    """While one client leaves its socket full, another gets every frame; then the first is dropped."""

    async def check(api: RunningApi) -> None:
        with stalled_client(api.port):
            await until(lambda: api.open_streams == 1)
            async with api.client.stream("GET", "/v1/stream") as response:
                coming = events(response.aiter_lines())
                await anext(coming)
                tick = 1
                while api.open_streams == 2:
                    api.publish(tick)
                    number, _ = await anext(coming)
                    assert number == tick + 1
                    tick += 1
            assert tick > 2
            await until(lambda: api.open_streams == 0)
            await until(lambda: len(api.server.connections) <= 1)

    with_api(check, structs.replace(LOCAL, stall_s=0.2))


def test_a_slow_client_gets_the_newest_and_not_the_backlog() -> None:
    """After a pause in reading the numbers jump: what it missed was never kept for it."""

    async def check(api: RunningApi) -> None:
        async with api.client.stream("GET", "/v1/stream") as response:
            coming = events(response.aiter_lines())
            await anext(coming)
            for tick in range(500):
                api.publish(tick)
                if tick % 10 == 0:
                    await asyncio.sleep(0)
            numbers: list[int] = []
            while not numbers or numbers[-1] < 501:
                numbers.append((await anext(coming))[0])
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 400

    with_api(check)


@pytest.mark.parametrize("streams", [1, 5])
def test_open_streams_do_not_hold_up_the_end(streams: int) -> None:
    """When the agent stops, streams end as whole responses and the server is done within two seconds."""

    async def check(api: RunningApi) -> None:
        async def read_to_the_end() -> bool:
            async with api.client.stream("GET", "/v1/stream") as response:
                return [line async for line in response.aiter_lines()] != []

        readers = [asyncio.create_task(read_to_the_end()) for _ in range(streams)]
        await until(lambda: api.open_streams == streams)
        api.stop.set()
        async with asyncio.timeout(2):
            assert all(await asyncio.gather(*readers))
            await api.serving

    with_api(check)


def test_a_stalled_stream_does_not_hold_up_the_end() -> None:
    """Not even a client that reads nothing delays the end beyond two seconds."""

    async def check(api: RunningApi) -> None:
        with stalled_client(api.port):
            await until(lambda: api.open_streams == 1)
            for tick in range(200):
                api.publish(tick)
                await asyncio.sleep(0)
            api.stop.set()
            async with asyncio.timeout(2):
                await api.serving

    with_api(check)
