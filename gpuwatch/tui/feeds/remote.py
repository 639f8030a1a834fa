"""A node whose agent answers over HTTP: its stream, its last hour, and a gap that is told where it breaks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from gpuwatch.agent_address import short_address
from gpuwatch.client import AgentClient, AgentRefusesError
from gpuwatch.tui.feeds.base import TakeFrame, forget
from gpuwatch.tui.feeds.hour import FAR_S, FAR_STEP_S, NEAR_S, fetch_past
from gpuwatch.tui.moment import FeedKind, FeedState
from gpuwatch_agent.history import History
from gpuwatch_agent.model.errors import AgentUnreachableError
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology

_PATIENCE_S = 5.0
_ASIDE_EVERY_S = 60.0
_RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)
_RETRY_REFUSED_S = 15.0


class _FindingEvents(msgspec.Struct):
    schema: int
    events: list[FindingEvent]


class _TimeAxis:
    """The node's own clock, made one that never goes back: it tells where frames lie in the history."""

    def __init__(self) -> None:
        self._shift = 0.0
        self._last: float | None = None

    def place(self, taken_at: float) -> float:
        """Where a frame of that time goes."""
        if self._last is not None and taken_at + self._shift < self._last:
            self._shift = self._last - taken_at
        self._last = taken_at + self._shift
        return self._last


class RemoteFeed:
    """Follows one agent until cancelled; a broken connection is told, tried again, and its gap filled in."""

    def __init__(
        self,
        client: AgentClient,
        *,
        local: bool = False,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tick_s: float = 1.0,
    ) -> None:
        self._client = client
        self._kind: FeedKind = "local" if local else "remote"
        self._wall_clock, self._clock, self._pause, self._tick_s = wall_clock, clock, pause, tick_s
        self._axis = _TimeAxis()
        self._newest: Frame | None = None
        self._heard_at = clock()
        self._lost_at: float | None = None
        self._events: list[FindingEvent] = []
        self._topology: Topology | None = None
        self._findings_changed = asyncio.Event()
        self._recall: TakeFrame = forget
        self._hour: asyncio.Task[None] | None = None
        self._since_hour_was_asked: list[Frame] | None = None
        self.history = History()
        self.state = self._told(None)
        self.interval_s = 1.0

    async def run(self, deliver: TakeFrame, changed: Callable[[], None], recall: TakeFrame = forget) -> None:
        """Deliver the agent's frames; the hour before the first goes to `recall`."""
        tries = 0
        self._recall = recall
        try:
            while True:
                heard_before = self._heard_at
                try:
                    if self._newest is not None:
                        await self._fill_gap(self._newest, deliver)
                    await self._follow(deliver, changed)
                except AgentUnreachableError as error:
                    tries = tries + 1 if self._heard_at == heard_before else 0
                    await self._lose(error, tries, changed)
        finally:
            await _end(self._hour)
            await self._client.close()

    def events(self) -> Sequence[FindingEvent]:
        """What the agent said was raised and cleared within the last hour."""
        return self._events

    def topology(self) -> Topology | None:
        """The wiring, at most a minute old."""
        return self._topology

    async def set_interval(self, interval_s: float) -> bool:
        """The pace is the agent's own."""
        del interval_s
        return False

    async def _follow(self, deliver: TakeFrame, changed: Callable[[], None]) -> None:
        """The stream until it ends, with wiring and findings beside it."""
        beside = asyncio.create_task(self._keep_wiring_and_findings())
        frames = self._client.stream()
        coming: asyncio.Task[Frame | None] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(_next(frames))
                done, _ = await asyncio.wait({coming}, timeout=self._tick_s)
                if not done:
                    self._note_silence(changed)
                    continue
                frame = coming.result()
                coming = None
                if frame is None:
                    raise AgentUnreachableError(f"The agent at {self._client.url} has ended the connection.")
                self._take(frame, deliver)
        finally:
            await _end(coming)
            await frames.aclose()
            await _end(beside)

    def _take(self, frame: Frame, deliver: TakeFrame) -> None:
        if self._newest is None or _open_findings(frame) != _open_findings(self._newest):
            self._findings_changed.set()
        if frame.agent is not None:
            self.interval_s = frame.agent.interval_s
        self._newest = frame
        self._heard_at, self._lost_at = self._clock(), self._wall_clock()
        self.state = self._told(None)
        self.history.append(frame, self._axis.place(frame.taken_at))
        if self._since_hour_was_asked is not None:
            self._since_hour_was_asked.append(frame)
        deliver(frame)
        if self._hour is None:
            self._hour = asyncio.create_task(self._fetch_hour(frame))

    def _note_silence(self, changed: Callable[[], None]) -> None:
        """A cable that was pulled tells nobody: what does not come is told before the connection is given up."""
        silent_s = self._clock() - self._heard_at
        if self._newest is not None and silent_s > max(_PATIENCE_S, 3 * self.interval_s):
            self.state = self._told(f"The agent at {self._client.url} has gone silent.")
            changed()

    async def _lose(self, error: AgentUnreachableError, tries: int, changed: Callable[[], None]) -> None:
        """Say what happened, and wait; each second, for the age of what is shown grows."""
        refused = isinstance(error, AgentRefusesError)
        wait_s = _RETRY_REFUSED_S if refused else _RETRY_S[min(tries, len(_RETRY_S) - 1)]
        self.state = self._told(f"{error.message} {error.action if refused else 'Trying again.'}".strip())
        while wait_s > 0:
            changed()
            await self._pause(min(wait_s, self._tick_s))
            wait_s -= self._tick_s

    def _told(self, problem: str | None) -> FeedState:
        return FeedState(
            kind=self._kind,
            where=short_address(self._client.url),
            connected=problem is None and self._newest is not None,
            problem=problem,
            lost_at=self._lost_at if problem is not None else None,
        )

    async def _keep_wiring_and_findings(self) -> None:
        """Wiring once a minute, events whenever the findings have become others."""
        wiring_due = 0.0
        while True:
            with contextlib.suppress(AgentUnreachableError):  # the stream will tell
                await self._ask_events()
                if self._clock() >= wiring_due:
                    self._topology = await self._client.topology()
                    wiring_due = self._clock() + _ASIDE_EVERY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASIDE_EVERY_S):
                    await self._findings_changed.wait()

    async def _ask_events(self) -> None:
        self._findings_changed.clear()
        self._events = (await self._client.get("/v1/findings", _FindingEvents)).events

    async def _fetch_hour(self, like: Frame) -> None:
        """What happened before the first frame, for charts and for going back; in small steps beside the stream."""
        live = self._since_hour_was_asked = [like]
        try:
            await self._ask_events()
            frames: list[tuple[Frame, float]] = []
            near = await fetch_past(self._client, like, self._events, seconds=NEAR_S, step_s=1.0)
            far = await fetch_past(self._client, like, self._events, seconds=FAR_S, step_s=FAR_STEP_S)
            near_begins = near.moments[0] if near.moments else like.taken_at
            for past, end in ((far, near_begins), (near, like.taken_at)):
                for frame in past.frames(before=end):
                    frames.append((frame, past.step_s))
                    await asyncio.sleep(0)
            await self._rewrite_history(frames, live)
            for frame, _ in reversed(frames):
                self._recall(frame)
                await asyncio.sleep(0)
        except AgentUnreachableError:
            return  # the stream tells; there is no past then
        finally:
            self._since_hour_was_asked = None

    async def _rewrite_history(self, past: Sequence[tuple[Frame, float]], live: list[Frame]) -> None:
        history, axis = History(), _TimeAxis()
        for frame, step_s in past:
            _remember(history, axis, frame, step_s)
            await asyncio.sleep(0)
        for frame in live:
            history.append(frame, axis.place(frame.taken_at))
        self.history, self._axis = history, axis

    async def _fill_gap(self, last: Frame, deliver: TakeFrame) -> None:
        """What the agent saw while we did not hear it."""
        missed_s = self._wall_clock() - (self._lost_at or last.taken_at) + 2.0
        step_s = 1.0 if missed_s <= NEAR_S else FAR_STEP_S
        past = await fetch_past(
            self._client, last, self._events, seconds=min(max(missed_s, 2 * step_s), FAR_S), step_s=step_s
        )
        for frame in past.frames(after=last.taken_at):
            _remember(self.history, self._axis, frame, step_s)
            self._newest = frame
            deliver(frame)
            await asyncio.sleep(0)


def _remember(history: History, axis: _TimeAxis, frame: Frame, step_s: float) -> None:
    """A frame that stands for a step stands in each of its seconds."""
    for back in range(int(step_s) - 1, -1, -1):
        history.append(frame, axis.place(frame.taken_at - back))


def _open_findings(frame: Frame) -> set[tuple[str, str, str]]:
    return {(finding.kind, finding.key or str(finding.gpus), finding.severity) for finding in frame.findings}


async def _next(frames: AsyncGenerator[Frame, None]) -> Frame | None:
    return await anext(frames, None)


async def _end(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
