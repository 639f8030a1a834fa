"""What the frame does not hold, looked up behind the picture: /proc on a thread, the tape in small steps."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from gpuwatch.render.job_cells import NOT_VISIBLE, Job
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.processes.environment import Environment, environment_of
from gpuwatch.tui.processes.local import Facts, LocalProcesses, why_not_local
from gpuwatch.tui.processes.rows import job_key
from gpuwatch.tui.processes.trace import Past, Trace, step_s
from gpuwatch_agent.model.frame import Frame

_EVERY_S = 2.0
_NEW_AFTER_S = 0.25
_LEAST_PAST_S, _MOST_PAST_S = 60.0, 3600.0

_Start = Callable[[Coroutine[Any, Any, None]], object]


class Lookups:
    """Each question is asked once and again only when it is due; `changed` is called when an answer is worth a picture."""

    def __init__(
        self, start: _Start, changed: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._start = start
        self._changed = changed
        self._clock = clock
        self._local = LocalProcesses(clock=clock)
        self.facts: dict[int, Facts] = {}
        self._looked_at: float | None = None
        self._looking = False
        self._for_now = True
        self._trace: Trace | None = None
        self._gathered: tuple[object, ...] = ()
        self._gathering = False
        self._environment: tuple[str, Environment | None] = ("", None)

    def look_at(self, pids: Sequence[int], moment: Moment) -> None:
        """Processor and memory of these processes, at the medium pace, and of new ones soon."""
        if self._looking or not pids or why_not_local(moment) is not None:
            return
        now = self._clock()
        new = any(pid not in self.facts for pid in pids)
        if self._looked_at is None or now - self._looked_at >= (_NEW_AFTER_S if new else _EVERY_S):
            self._looking, self._looked_at = True, now
            # Otherwise the next frame's picture shows it.
            self._start(self._read(list(pids), draw=new or moment.interval_s > _EVERY_S))

    def forget_facts(self) -> None:
        """The processes shown are not this machine's present any more; what is under way is not for them either."""
        self.facts = {}
        self._for_now = False

    async def _read(self, pids: Sequence[int], *, draw: bool) -> None:
        self._for_now = True
        try:
            found = await asyncio.to_thread(self._local.read, pids)
        finally:
            self._looking = False
        if not self._for_now:
            return
        self.facts = found
        if draw:
            self._changed()

    def follow(self, job: Job, moment: Moment, cells: int, kept: Callable[[float], Frame | None]) -> None:
        """The process's past on so many cells: the newest from the frame, the rest from the tape, once."""
        if not job.gpus or cells <= 0:
            return
        process = job.process
        step = step_s(min(max(moment.newest_at - moment.oldest_at, _LEAST_PAST_S), _MOST_PAST_S), cells)
        trace = self._trace
        if trace is None or (trace.pid, trace.started_at, trace.step) != (process.pid, process.started_at, step):
            trace = self._trace = Trace(process.pid, process.started_at, step)
        if not moment.paused:
            trace.take(moment.frame)
        asked = (trace, cells, moment.frame.taken_at if moment.paused else None)
        if self._gathered != asked and not self._gathering:
            self._gathered, self._gathering = asked, True
            self._start(self._gather(trace, moment, cells, kept))

    async def _gather(self, trace: Trace, moment: Moment, cells: int, kept: Callable[[float], Frame | None]) -> None:
        try:
            await trace.gather(moment.frame.taken_at, moment.oldest_at, cells, kept, self._changed)
        finally:
            self._gathering = False

    def past(self, job: Job, moment: Moment, cells: int) -> Past:
        """What is known of it by now."""
        trace, process = self._trace, job.process
        if trace is None or (trace.pid, trace.started_at) != (process.pid, process.started_at):
            return Past([None] * cells, 1)
        return Past(trace.samples(moment.frame.taken_at, cells), trace.step)

    def read_environment(self, job: Job, moment: Moment, *, refused: str | None = None) -> None:
        """Once for each process that is asked about; where it is refused, that is the answer."""
        key, process = job_key(job), job.process
        if self._environment[0] == key:
            return
        why = why_not_local(moment)
        if refused is not None:
            refusal = refused
        elif why is not None:
            refusal = f"Its environment is not known: {why}."
        elif not process.visible:
            refusal = f"It is {NOT_VISIBLE}."
        else:
            self._environment = (key, None)
            self._start(self._fetch(key, process.pid, process.started_at, process.user))
            return
        self._environment = (key, Environment(refusal=refusal))
        self._changed()

    async def _fetch(self, key: str, pid: int, started_at: float | None, user: str | None) -> None:
        found = await asyncio.to_thread(environment_of, pid, started_at, user)
        if self._environment[0] == key:
            self._environment = (key, found)
            self._changed()

    def environment(self, job: Job) -> Environment | None:
        """What was read; None while it is being read."""
        return self._environment[1] if self._environment[0] == job_key(job) else None

    def ask_anew(self) -> None:
        """The pane was closed, or the view was out of sight: what was known may be old or have gaps."""
        self._gathered, self._environment = (), ("", None)
