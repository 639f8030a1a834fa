"""The hub: one producer that never waits, readers that may miss frames."""

import asyncio
from gzip import decompress

import msgspec

from gpuwatch_agent.hub import FrameHub
from support.sample_frames import sample_frame


def test_sequence_numbers_count_up() -> None:
    """Every frame gets the next number, and the newest is the latest."""
    hub = FrameHub(clock=lambda: 5.0)
    assert hub.latest is None
    assert [hub.publish(sample_frame(gpus=0)).sequence for _ in range(3)] == [1, 2, 3]
    assert hub.newest is not None
    assert hub.newest.sequence == 3
    assert hub.newest.at_monotonic == 5.0
    assert hub.latest is hub.newest.frame


def test_bytes_are_made_once_and_shared() -> None:
    """A hundred readers of one frame get the same object, not a hundred encodings."""
    published = FrameHub().publish(sample_frame())
    assert published.json is published.json
    assert published.gzipped is published.gzipped
    assert published.event is published.event
    assert decompress(published.gzipped) == published.json
    assert msgspec.json.decode(published.json)["gpus"][7]["nvlink"]["links"][17]["state"] == "up"


def test_an_event_is_one_line_of_data() -> None:
    """Text with line breaks inside does not break the event apart."""
    frame = msgspec.structs.replace(sample_frame(gpus=0), node="two\nlines\r\n")
    head, data, *rest = FrameHub().publish(frame).event.split(b"\n")
    assert head == b"id: 1"
    assert msgspec.json.decode(data.removeprefix(b"data: "))["node"] == "two\nlines\r\n"
    assert rest == [b"", b""]


async def _all_waiters_get_one_frame() -> None:
    hub = FrameHub()
    async with asyncio.timeout(5):
        waiting = [asyncio.create_task(hub.wait_newer()) for _ in range(50)]
        await asyncio.sleep(0)
        published = hub.publish(sample_frame(gpus=0))
        assert all(got is published for got in await asyncio.gather(*waiting))


def test_all_who_wait_get_the_next_frame() -> None:
    """Fifty readers that wait are woken by one publish."""
    asyncio.run(_all_waiters_get_one_frame())


async def _a_slow_reader() -> list[int]:
    hub = FrameHub()
    seen = []
    async with asyncio.timeout(5):
        sequence = 0
        for burst in (1, 5, 3):
            for _ in range(burst):
                hub.publish(sample_frame(gpus=0))
            got = await hub.wait_newer(sequence)
            assert got is not None
            sequence = got.sequence
            seen.append(sequence)
    return seen


def test_a_slow_reader_misses_frames() -> None:
    """Who comes late gets the newest and none of those in between."""
    assert asyncio.run(_a_slow_reader()) == [1, 6, 9]


async def _closing() -> object:
    hub = FrameHub()
    async with asyncio.timeout(5):
        waiting = asyncio.create_task(hub.wait_newer())
        await asyncio.sleep(0)
        hub.close()
        return await waiting, await hub.wait_newer()


def test_closing_sends_readers_home() -> None:
    """Nobody waits for a frame that will not come."""
    assert asyncio.run(_closing()) == (None, None)


async def _cancelled_waiter() -> int:
    hub = FrameHub()
    waiting = asyncio.create_task(hub.wait_newer())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return len(hub._waiting)


def test_a_reader_that_gives_up_leaves_nothing_behind() -> None:
    """Clients that come and go do not pile up in the hub."""
    assert asyncio.run(_cancelled_waiter()) == 0
