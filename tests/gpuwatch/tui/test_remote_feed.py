import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from gpuwatch.tui.feeds.remote import RemoteFeed
from gpuwatch.tui.moment import FeedState
from gpuwatch_agent.api.address import Address
from gpuwatch_agent.api.settings import ApiSettings, hash_token
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from support.running_api import LOCAL, RunningApi, until
from support.sample_frames import sample_frame, uuid
from support.scripted_agents import Moving, agent_at, client_over

TOKEN = "correct-horse-battery"
GUARDED = ApiSettings(address=Address(host="10.0.0.7", port=0), token_sha256=hash_token(TOKEN))
OPENING = 1_760_000_000.0


class Listener:
    """A feed that runs, and all it has told; waits pass at once, but only when the test lets them."""

    def __init__(self, moving: Moving, token: str | None = None) -> None:
        self.now = 1000.0
        self.frames: list[Frame] = []
        self.recalled: list[Frame] = []
        self.states: list[FeedState] = []
        self.waited: list[float] = []
        self.go_on = asyncio.Event()
        self.feed = RemoteFeed(
            client_over(moving, token),
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
            pause=self._pause,
            tick_s=0.02,
        )

    async def _pause(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)
        await self.go_on.wait()

    async def run(self) -> None:
        await self.feed.run(self.frames.append, lambda: self.states.append(self.feed.state), self.recalled.append)

    @property
    def problem(self) -> str:
        return self.feed.state.problem or ""


@asynccontextmanager
async def listening(moving: Moving, token: str | None = None) -> AsyncIterator[Listener]:
    listener = Listener(moving, token)
    running = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await moving.aclose()


def with_listener(
    check: Callable[[Listener, RunningApi], Awaitable[None]],
    *,
    settings: ApiSettings | None = None,
    token: str | None = None,
    frames: int = 1,
) -> None:
    async def run() -> None:
        moving = Moving()
        serving = agent_at(moving, settings or LOCAL, frames=frames)
        async with serving as api, listening(moving, token) as listener:
            await check(listener, api)

    asyncio.run(run())


def moments(frames: Sequence[Frame]) -> list[float]:
    return [frame.taken_at - OPENING for frame in frames]


def test_frames_come_as_the_agent_publishes_them() -> None:
    """The newest at once, then each; the state says remote and connected, the pace is the agent's own."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: len(listener.frames) == 1)
        api.publish(1)
        await until(lambda: len(listener.frames) == 2)
        assert listener.frames == [sample_frame(0), sample_frame(1)]
        state = listener.feed.state
        assert (state.kind, state.where, state.connected, state.problem) == ("remote", "node07", True, None)
        assert await listener.feed.set_interval(5.0) is False
        assert listener.feed.interval_s == 1.0

    with_listener(check)


def test_the_hour_before_is_fetched() -> None:
    """The past comes backwards, second by second and farther back in steps; series reach as far; nothing is made up."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: bool(listener.recalled) and listener.recalled[-1].taken_at < OPENING + 5)
        at = moments(listener.recalled)
        assert at == sorted(at, reverse=True)
        assert at[:598] == [699.0 - second for second in range(1, 599)]
        assert all(later - earlier == 5.0 for later, earlier in pairwise(at[599:]))
        past, then = listener.recalled[9], sample_frame(689)
        for index in (0, 7):
            assert past.gpus[index].utilization_pct == then.gpus[index].utilization_pct
            assert past.gpus[index].memory_used_bytes == then.gpus[index].memory_used_bytes
            assert past.gpus[index].ecc == then.gpus[index].ecc
            assert past.gpus[index].name == then.gpus[index].name
            assert past.gpus[index].processes is None
            assert past.gpus[index].throttle_reasons is None
        assert past.host is not None
        assert past.host.cpu_pct == 12.5
        energy = listener.feed.history.recent(uuid(3), "energy_j", 3600)
        assert len(energy) >= 695
        assert list(energy[-590:]) == [1e9 + 612.0 * tick for tick in range(110, 700)]

    with_listener(check, frames=700)


def test_findings_of_the_past_stand_in_its_frames() -> None:
    """What had been raised and not cleared by then is in the frames of that time."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: len(listener.recalled) == 19)
        standing = {
            moment: len(frame.findings)
            for moment, frame in zip(moments(listener.recalled), listener.recalled, strict=True)
        }
        assert [standing[moment] for moment in (4.0, 5.0, 11.0, 12.0)] == [0, 1, 1, 0]
        assert [event.event for event in listener.feed.events()] == ["raised", "cleared"]

    async def run() -> None:
        moving = Moving()
        async with agent_at(moving, frames=20) as api:
            finding = sample_frame().findings[0]
            api.events += [
                FindingEvent(event="raised", at=OPENING + 5.0, finding=finding),
                FindingEvent(event="cleared", at=OPENING + 12.0, finding=finding),
            ]
            async with listening(moving) as listener:
                await check(listener, api)

    asyncio.run(run())


def test_wiring_is_fetched() -> None:
    """The topology is there soon after the first frame."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: listener.feed.topology() is not None)
        wiring = listener.feed.topology()
        assert wiring is not None
        assert len(wiring.gpus) == 8

    with_listener(check)


def test_events_follow_new_findings() -> None:
    """When the findings of a frame become others, what was raised and cleared is asked for anew."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: listener.feed.topology() is not None)
        assert listener.feed.events() == []
        finding = structs.replace(sample_frame().findings[0], kind="gpu_lost", severity="critical")
        api.events.append(FindingEvent(event="raised", at=OPENING, finding=finding))
        api.hub.publish(structs.replace(sample_frame(1), findings=[finding]))
        await until(lambda: len(listener.feed.events()) == 1)

    with_listener(check)


def test_a_cut_is_told_and_its_gap_filled() -> None:
    """The last frame stays with the reason and the time; the agent back, what was missed comes in order, then what is new."""

    async def run() -> None:
        moving = Moving()
        async with listening(moving) as listener:
            async with agent_at(moving, frames=3):
                await until(lambda: len(listener.frames) == 1)
            await until(lambda: listener.feed.state.problem is not None)
            assert not listener.feed.state.connected
            assert listener.feed.state.lost_at == 1000.0
            assert listener.feed.state in listener.states
            listener.now = 1007.0
            async with agent_at(moving, frames=8) as api:
                listener.go_on.set()
                await until(lambda: len(listener.frames) >= 6)
                api.publish(8)
                await until(lambda: moments(listener.frames)[-1] == 8.0)
                assert moments(listener.frames) == [
                    2.0,
                    3.0,
                    4.0,
                    5.0,
                    6.0,
                    7.0,
                    *[7.0] * (len(listener.frames) - 7),
                    8.0,
                ]
                assert listener.feed.state.connected
                assert listener.feed.state.problem is None
                energy = listener.feed.history.recent(uuid(0), "energy_j", 60)
                assert list(energy[-7:]) == [1e9 + 612.0 * tick for tick in range(2, 9)]

    asyncio.run(run())


def test_nobody_there_is_told_and_tried_with_patience() -> None:
    """Waits grow from one second to fifteen, told each second, and the reason is a sentence."""

    async def run() -> None:
        moving = Moving()
        async with listening(moving) as listener:
            listener.go_on.set()
            await until(lambda: len(listener.waited) > 2000)
            assert listener.problem.startswith("No gpuwatch agent answers at http://node07:9489 (")
            assert "refused" in listener.problem.lower()
            assert listener.problem.endswith("Trying again.")
            assert listener.feed.state.lost_at is None
            assert len(listener.states) >= 2000

    asyncio.run(run())


def test_another_version_is_one_sentence() -> None:
    """An agent whose documents have another schema is told as such, with what to do."""

    async def check(listener: Listener, api: RunningApi) -> None:
        api.hub.publish(structs.replace(sample_frame(), schema=2))
        await until(lambda: "schema" in listener.problem)
        assert listener.problem == (
            "The agent at http://node07:9489 speaks schema 2, this gpuwatch speaks 1. "
            "Install the same version of gpuwatch on both sides."
        )
        assert listener.frames == []

    with_listener(check, frames=0)


@pytest.mark.parametrize(
    ("token", "told"), [(None, "wants a token"), ("wrong-horse-battery", "does not accept this token")]
)
def test_the_wrong_token_is_told(token: str | None, told: str) -> None:
    """Without the token, or with another one, the reader is told which file to give."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: told in listener.problem)
        assert "--token-file FILE" in listener.problem

    with_listener(check, settings=GUARDED, token=token)


def test_the_right_token_opens() -> None:
    """With it everything comes: frames, past and wiring."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: bool(listener.frames) and listener.feed.topology() is not None)
        await until(lambda: len(listener.recalled) == 4)

    with_listener(check, settings=GUARDED, token=TOKEN, frames=5)


def test_silence_is_told_before_the_connection_is_given_up() -> None:
    """A stream that brings nothing is named silent after some seconds, and well again with the next frame."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: len(listener.frames) == 1)
        listener.now += 4.0
        await until(lambda: listener.feed.topology() is not None)
        assert listener.feed.state.problem is None
        listener.now += 4.0
        await until(lambda: listener.feed.state.problem is not None)
        assert listener.problem == "The agent at http://node07:9489 has gone silent."
        assert listener.feed.state.lost_at == 1000.0
        api.publish(1)
        await until(lambda: listener.feed.state.problem is None)

    with_listener(check)


def test_a_clock_put_back_loses_nothing() -> None:
    """Frames of a node whose clock went back are kept behind the others, in the order they came."""

    async def check(listener: Listener, api: RunningApi) -> None:
        await until(lambda: len(listener.recalled) == 9)
        back: Any = structs.replace(sample_frame(10), taken_at=OPENING - 500.0)
        api.hub.publish(back)
        await until(lambda: moments(listener.frames)[-1] == -500.0)
        energy = listener.feed.history.recent(uuid(0), "energy_j", 5)
        assert energy[-1] == 1e9 + 6120.0

    with_listener(check, frames=10)
