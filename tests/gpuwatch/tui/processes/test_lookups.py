"""What is looked up behind the picture: only when it is due, and never for the wrong moment."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from msgspec import structs

from gpuwatch.tui.moment import FeedState, Moment
from gpuwatch.tui.processes.lookups import Lookups
from gpuwatch_agent.history import History
from support.real_processes import frame_with

_MOMENT = Moment(
    frame=frame_with([], 10.0),
    history=History(),
    feed=FeedState(kind="embedded"),
    now=10.0,
    newest_at=10.0,
    oldest_at=0.0,
)


class _Scene:
    """Lookups on a clock of the test's own; what they start waits until the test lets it run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.started: list[Coroutine[Any, Any, None]] = []
        self.pictures = 0
        self.lookups = Lookups(self.started.append, self._changed, clock=lambda: self.now)

    def _changed(self) -> None:
        self.pictures += 1

    def run(self) -> int:
        """Let all that was started end; says how many there were."""
        started, self.started[:] = list(self.started), []
        for coroutine in started:
            asyncio.run(_ended(coroutine))
        return len(started)


async def _ended(coroutine: Coroutine[Any, Any, None]) -> None:
    await coroutine


def test_rows_are_read_every_two_seconds_and_new_ones_soon() -> None:
    """A picture a quarter of a second later costs no reading; a row that came into sight does."""
    scene = _Scene()
    mine, parent = os.getpid(), os.getppid()
    told: list[int] = []
    for after_s, pids in ((0.0, [mine]), (0.1, [mine]), (1.0, [mine]), (1.0, [mine]), (0.1, [mine, 999_999_999])):
        scene.now += after_s
        scene.lookups.look_at(pids, _MOMENT)
        told.append(scene.run())
    assert told == [1, 0, 0, 1, 0]
    assert scene.pictures == 1, "what the next frame draws anyway needs no picture of its own"
    assert {mine, parent} <= set(scene.lookups.facts)
    scene.now += 0.25
    scene.lookups.look_at([mine, 999_999_999], _MOMENT)
    assert scene.run() == 1


def test_nothing_is_read_for_what_is_not_here_and_now() -> None:
    """No look into /proc for a remote agent's, a recording's, a simulation's PIDs, or in the past."""
    scene = _Scene()
    moments = [
        structs.replace(_MOMENT, feed=FeedState(kind="remote")),
        structs.replace(_MOMENT, feed=FeedState(kind="recording")),
        structs.replace(_MOMENT, frame=structs.replace(_MOMENT.frame, simulated=True)),
        structs.replace(_MOMENT, paused=True),
    ]
    for moment in moments:
        scene.lookups.look_at([os.getpid()], moment)
    assert scene.run() == 0


def test_what_was_under_way_when_time_was_stopped_is_dropped() -> None:
    """The present's processor shares never stand in the past."""

    async def play() -> None:
        tasks: list[asyncio.Task[None]] = []
        lookups = Lookups(lambda coroutine: tasks.append(asyncio.ensure_future(coroutine)), lambda: None)
        lookups.look_at([os.getpid()], _MOMENT)
        await asyncio.sleep(0)
        lookups.forget_facts()
        await tasks[0]
        assert lookups.facts == {}

    asyncio.run(play())
