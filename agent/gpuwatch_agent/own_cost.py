"""What gpuwatch itself takes of the machine: processor time and memory of the agent and its sampler."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from gpuwatch_agent.sampling.worker import Worker

_EVERY_S = 5.0
_OUTDATED_AFTER_S = 3 * _EVERY_S
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(Struct, frozen=True):
    """Percent of one core over the last seconds, and bytes of memory, shared pages counted in part."""

    agent_cpu_pct: float | None = None
    agent_memory_bytes: int | None = None
    sampler_cpu_pct: float | None = None
    sampler_memory_bytes: int | None = None


class OwnCost:
    """Looked up every few seconds, since looking costs something itself, and on a thread of its own.

    The kernel lets nobody look at a process that hangs in the driver with its memory map locked: whoever tries hangs, too.
    """

    def __init__(self, clock: Callable[[], float], proc: Path = Path("/proc")) -> None:
        self._clock = clock
        self._proc = proc
        self._looked_at: float | None = None
        self._cpu_s: dict[int, float] = {}
        self._usage = Usage()
        self._worker: Worker[Usage] = Worker("own-cost", clock)

    def usage(self, sampler_pid: int | None) -> Usage:
        """What was found out last; never waits."""
        now = self._clock()
        since = self._worker.busy_since
        if since is not None:
            found = self._worker.answer(0)
            if found is not None:
                self._usage = found
            elif now - since > _OUTDATED_AFTER_S:
                self._usage = Usage()
        if self._worker.busy_since is None and (self._looked_at is None or now - self._looked_at >= _EVERY_S):
            gap = now - self._looked_at if self._looked_at is not None else None
            self._looked_at = now
            self._worker.start(partial(self._look, sampler_pid, gap))
        return self._usage

    def stop(self) -> None:
        """Let the thread go."""
        self._worker.stop()

    def _look(self, sampler_pid: int | None, gap: float | None) -> Usage:
        own = os.getpid()
        before, self._cpu_s = self._cpu_s, {}
        return Usage(
            agent_cpu_pct=self._share(own, before, gap),
            agent_memory_bytes=self._memory(own),
            sampler_cpu_pct=self._share(sampler_pid, before, gap) if sampler_pid is not None else None,
            sampler_memory_bytes=self._memory(sampler_pid) if sampler_pid is not None else None,
        )

    def _share(self, pid: int, before: dict[int, float], gap: float | None) -> float | None:
        try:
            fields = (self._proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        except (OSError, ValueError, IndexError):
            return None
        self._cpu_s[pid] = seconds
        if gap is None or gap <= 0 or pid not in before:
            return None
        return round((seconds - before[pid]) / gap * 100, 2)

    def _memory(self, pid: int) -> int | None:
        """Proportional set size: what both processes share is counted once."""
        try:
            for line in (self._proc / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except (OSError, ValueError, IndexError):
            return None
        return None
