"""One reading of this node in this process, under the same watch as the agent's: `status` and `topo` without an agent."""

import time
from collections.abc import Callable, Iterator

from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Hardware, Tier
from gpuwatch_agent.model.errors import DriverUnavailableError
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

# Long enough for the profiler's two samples and for byte counters to move.
_RATES_GAP_S = 0.5
_ALL = tuple(Tier)


def read_frame(
    hardware: Hardware, config: Config, *, rates: bool, pause: Callable[[float], None] = time.sleep
) -> Frame:
    """Everything of this node at one moment; `rates` waits for the second reading that rates need."""
    rig = Rig(hardware, config, rates=rates)
    rig.open()
    try:
        frame = rig.read(_ALL)
        if rates:
            pause(_RATES_GAP_S)
            frame = rig.read((Tier.FAST, Tier.MEDIUM))
    finally:
        rig.close()
    return frame


def read_topology(hardware: Hardware, config: Config) -> Topology:
    """How the GPUs of this node are wired."""
    rig = Rig(hardware, config, rates=False)
    rig.open()
    try:
        frame = rig.read((Tier.MEDIUM, Tier.SLOW))
        placements = rig.placements()
    finally:
        rig.close()
    return build_topology(frame.gpus, placements, node=frame.node, taken_at=frame.taken_at, simulated=frame.simulated)


class Watcher:
    """Frames with findings, one after the other, for `status --watch` and `check` without an agent."""

    def __init__(
        self,
        hardware: Hardware,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        from gpuwatch_agent.judging import Judge  # who reads once does not pay for it

        self.judge = Judge(config, clock=clock, wall_clock=wall_clock, topology=self._topology)
        self._rig = Rig(hardware, config, clock=clock, wall_clock=wall_clock)
        self._interval_s = config.sampling.interval_s
        self._clock = clock
        self._pause = pause
        self._next = clock()
        self._last: Frame | None = None
        self._rig.open()
        if config.hardware.events:
            self.judge.watch_xids(hardware)

    def next_frame(self) -> Frame:
        """Waits for the next tick, reads what is due and judges it."""
        wait_s = self._next - self._clock()
        if wait_s > 0:
            self._pause(wait_s)
        self._next = max(self._next + self._interval_s, self._clock())
        self._last = self._rig.read()
        return self.judge.judge(self._last)

    def frames(self, every_s: float) -> Iterator[Frame]:
        """One frame each so many seconds; in between it reads and judges on, for what is wrong shows over time."""
        due = self._clock()
        while True:
            frame = self.next_frame()
            now = self._clock()
            if now >= due - self._interval_s / 2:
                due = max(due + every_s, now)
                yield frame

    def frame_without_driver(self, error: DriverUnavailableError) -> Frame:
        """The GPUs as they were when the driver went away, with the finding that says so."""
        return self.judge.judge_blindly(Trouble(kind=error.kind, message=error.message, action=error.action))

    def _topology(self) -> Topology | None:
        """How the GPUs are wired, for those detectors that ask."""
        frame = self._last
        if frame is None:
            return None
        return build_topology(
            frame.gpus, self._rig.placements(), node=frame.node, taken_at=frame.taken_at, simulated=frame.simulated
        )

    def close(self) -> None:
        self._rig.close()
