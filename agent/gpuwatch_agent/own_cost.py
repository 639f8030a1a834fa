"""What gpuwatch itself takes of the machine: processor time and memory of the agent and its sampler."""

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

_EVERY_S = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(Struct, frozen=True):
    """Percent of one core over the last seconds, and bytes of memory, shared pages counted in part."""

    agent_cpu_pct: float | None = None
    agent_memory_bytes: int | None = None
    sampler_cpu_pct: float | None = None
    sampler_memory_bytes: int | None = None


class OwnCost:
    """Looked up every few seconds: looking costs something itself."""

    def __init__(self, clock: Callable[[], float], proc: Path = Path("/proc")) -> None:
        self._clock = clock
        self._proc = proc
        self._looked_at: float | None = None
        self._cpu_s: dict[int, float] = {}
        self._usage = Usage()

    def usage(self, sampler_pid: int | None) -> Usage:
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < _EVERY_S:
            return self._usage
        gap = now - self._looked_at if self._looked_at is not None else None
        own = os.getpid()
        before, self._cpu_s = self._cpu_s, {}
        self._looked_at = now
        self._usage = Usage(
            agent_cpu_pct=self._share(own, before, gap),
            agent_memory_bytes=self._memory(own),
            sampler_cpu_pct=self._share(sampler_pid, before, gap) if sampler_pid is not None else None,
            sampler_memory_bytes=self._memory(sampler_pid) if sampler_pid is not None else None,
        )
        return self._usage

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
