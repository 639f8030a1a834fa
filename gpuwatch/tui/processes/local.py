"""What this machine's /proc adds to the processes of a frame: processor, memory, parents. Read on a thread, on demand."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from gpuwatch.tui.moment import Moment
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.hardware.base import ProcessFacts

_LEAST_S = 1.0
SAME_START_S = 2.0
"""Start times are told to the second where the kernel's boot time is: beyond that it is another process."""


def why_not_local(moment: Moment) -> str | None:
    """Why the processes shown can't be looked up in this machine's /proc now; None where they can."""
    if moment.frame.simulated:
        return "these processes are simulated"
    if moment.feed.kind == "remote":
        return "these processes run on another machine"
    if moment.feed.kind == "recording":
        return "this is a recording"
    if moment.paused:
        return "time stands still, and this is read for the present only"
    return None


def same_process(started_at: float | None, other: float | None) -> bool:
    """Whether both start times are known and the same: a PID alone may have been given to somebody else."""
    return started_at is not None and other is not None and abs(started_at - other) <= SAME_START_S


class Facts(Struct, frozen=True, kw_only=True):
    """What one process does beside the GPUs."""

    pid: int
    ppid: int | None
    user: str | None
    name: str | None
    command: str | None
    cgroup: str | None
    started_at: float | None
    cpu_pct: float | None
    """Of one core, since the reading before; None on the first."""
    rss_bytes: int | None


class _Reading(NamedTuple):
    """Processor time at one moment, and the share since the one before."""

    at: float
    cpu_s: float
    started_at: float | None
    cpu_pct: float | None


class LocalProcesses:
    """Two readings a while apart give a rate; what was not asked for again is forgotten."""

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._table = ProcessTable(proc, clock)
        self._clock = clock
        self._before: dict[int, _Reading] = {}

    def read(self, pids: Sequence[int]) -> dict[int, Facts]:
        """These processes and their ancestors."""
        found = self._table.facts(pids)
        now = self._clock()
        self._before = {pid: self._reading(one, now) for pid, one in found.items() if one.cpu_s is not None}
        return {pid: self._facts(one) for pid, one in found.items()}

    def _reading(self, one: ProcessFacts, now: float) -> "_Reading":
        before = self._before.get(one.pid)
        cpu_s = one.cpu_s or 0.0
        if before is None or before.started_at != one.started_at:
            return _Reading(now, cpu_s, one.started_at, None)
        if now - before.at < _LEAST_S:
            # The kernel counts in hundredths of a second: over less than this a share would be noise.
            return before
        return _Reading(now, cpu_s, one.started_at, max(0.0, 100 * (cpu_s - before.cpu_s) / (now - before.at)))

    def _facts(self, one: ProcessFacts) -> Facts:
        reading = self._before.get(one.pid)
        return Facts(
            pid=one.pid,
            ppid=one.ppid,
            user=one.user,
            name=one.name,
            command=" ".join(one.command) if one.command else None,
            cgroup=one.cgroup,
            started_at=one.started_at,
            cpu_pct=reading.cpu_pct if reading is not None else None,
            rss_bytes=one.rss_bytes,
        )


def own_facts(facts: Mapping[int, Facts], pid: int, started_at: float | None) -> Facts | None:
    """What was read under that PID, unless it belongs to another process."""
    one = facts.get(pid)
    return one if one is not None and same_process(one.started_at, started_at) else None
