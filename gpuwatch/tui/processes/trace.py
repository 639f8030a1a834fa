"""One process's past, looked up on the tape: only for the process whose detail is open, a sample a cell."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from gpuwatch.tui.processes.local import same_process
from gpuwatch_agent.model.frame import Frame

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120)
_AT_ONCE = 4


class Sample(Struct, frozen=True):
    """The process at one moment; both None where it held no GPU then."""

    memory_bytes: int | None = None
    sm_pct: float | None = None


def step_s(seconds: float, cells: int) -> int:
    """How long a cell is so that so many cells hold that time."""
    return next((step for step in _STEPS_S if step * cells >= seconds), _STEPS_S[-1])


def sample_of(frame: Frame, pid: int, started_at: float | None) -> Sample:
    """Its memory on all GPUs, and its share of the busiest one."""
    memory: list[int] = []
    shares: list[float] = []
    for gpu in frame.gpus:
        for process in gpu.processes or ():
            if process.pid != pid:
                continue
            if process.started_at != started_at and not same_process(process.started_at, started_at):
                continue
            if process.memory_bytes is not None:
                memory.append(process.memory_bytes)
            if process.sm_pct is not None:
                shares.append(process.sm_pct)
    return Sample(sum(memory) if memory else None, max(shares, default=None))


class Trace:
    """Samples at multiples of the step, gathered a few at a time so that keys are answered in between."""

    def __init__(self, pid: int, started_at: float | None, step: int) -> None:
        self.pid, self.started_at, self.step = pid, started_at, step
        self._samples: dict[int, Sample] = {}

    def samples(self, end: float, cells: int) -> list[Sample | None]:
        """The newest last; None where it was not looked up, or nothing was recorded."""
        last = int(end) // self.step
        return [self._samples.get(number) for number in range(last - cells + 1, last + 1)]

    def take(self, frame: Frame) -> None:
        """The newest moment needs no tape: within a step the last one wins."""
        self._samples[int(frame.taken_at) // self.step] = sample_of(frame, self.pid, self.started_at)

    async def gather(
        self, end: float, oldest: float, cells: int, at: Callable[[float], Frame | None], changed: Callable[[], None]
    ) -> None:
        """Fill in what is missing, the newest first."""
        last, looked_up = int(end) // self.step, 0
        for number in range(last, last - cells, -1):
            # A cell is known by the last frame in it.
            until = (number + 1) * self.step - 0.001
            if until < oldest:
                break
            if number in self._samples:
                continue
            frame = at(until)
            if frame is not None and int(frame.taken_at) // self.step == number:
                self._samples[number] = sample_of(frame, self.pid, self.started_at)
            looked_up += 1
            if looked_up % _AT_ONCE == 0:
                changed()
                await asyncio.sleep(0)
        self._samples = {number: sample for number, sample in self._samples.items() if number > last - 2 * cells}
        changed()
