"""What the series do not hold: when each error counter grew, which NVLinks were up, how good the PCIe link was at best.

Counters of errors stand still on a healthy node, so only their steps are kept. A counter's first value is where the
count begins: totals of the past are nobody's evidence, while Xids are counted by the agent itself and begin at nothing.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, NvLinkPort, Pcie, Xid

HORIZON_S = 3600.0
"""Steps older than this are forgotten."""
# A link width or generation counts once it has stood so long: the link retrains when load comes and goes.
_STEADY_S = 10.0
_FORGET_GPU_AFTER_S = 24 * 3600.0


class Step(Struct, frozen=True, gc=False):
    """One growth of a counter."""

    at: float
    by: int


class _Counter:
    """One counter that only grows, but starts afresh with the driver."""

    __slots__ = ("last", "steps")

    def __init__(self, last: int) -> None:
        self.last = last
        self.steps: deque[Step] = deque()

    def take(self, value: int, at: float) -> bool:
        """Tells whether it grew."""
        if value == self.last:
            return False
        # A counter that went back was reset: what it shows then has come since.
        grown = value - self.last if value > self.last else value
        self.last = value
        if grown:
            self.steps.append(Step(at, grown))
        while self.steps and self.steps[0].at < at - HORIZON_S:
            self.steps.popleft()
        return grown > 0


class _Best:
    """The highest value that stood for a while."""

    __slots__ = ("candidate", "since", "value")

    def __init__(self) -> None:
        self.value: int | None = None
        self.candidate: int | None = None
        self.since = 0.0

    def take(self, value: int | None, at: float) -> None:
        if value is None:
            return
        if value != self.candidate:
            self.candidate, self.since = value, at
        elif at - self.since >= _STEADY_S and (self.value is None or value > self.value):
            self.value = value


class GpuTally:
    """What is remembered of one GPU; `now` is the moment of the newest frame, by the clock that never jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ports_when_up: dict[int, NvLinkPort] = {}
        """Every NVLink that has been up since the agent began, as it was then: a port that is down forgets its peer."""
        self.links_with_errors: set[int] = set()
        """NVLinks of which any counter has grown since the agent began: on a healthy node none."""
        self._counters: dict[str, _Counter] = {}
        self._pcie_gen = _Best()
        self._pcie_width = _Best()
        self._links: Sequence[NvLinkPort] | None = None
        self._xids: Sequence[Xid] | None = None

    @property
    def best_pcie_gen(self) -> int | None:
        return self._pcie_gen.value

    @property
    def best_pcie_width(self) -> int | None:
        return self._pcie_width.value

    def steps(self, name: str, seconds: float) -> list[Step]:
        """How a counter grew within the last seconds, the oldest first."""
        counter = self._counters.get(name)
        if counter is None or not counter.steps:
            return []
        return [step for step in counter.steps if step.at > self.now - seconds]

    def growth(self, name: str, seconds: float) -> int:
        """By how much, in all."""
        return sum(step.by for step in self.steps(name, seconds))

    def grew_s_ago(self, name: str) -> float | None:
        """How long ago it grew last; `None` where that was never seen, or more than an hour ago."""
        counter = self._counters.get(name)
        if counter is None or not counter.steps:
            return None
        ago = self.now - counter.steps[-1].at
        return ago if ago <= HORIZON_S else None

    def take(self, gpu: Gpu, wall: float, now: float) -> None:
        """Take a newer row in. Xids come from beside the GPU, so they count also where it does not answer."""
        self.now = now
        if gpu.xids is not None and gpu.xids != self._xids:
            self._xids = gpu.xids
            self._take_xids(gpu.xids, wall)
        if gpu.state != "ok":
            return
        if gpu.pcie is not None:
            self._take_pcie(gpu.pcie)
        if gpu.ecc is not None:
            self._count("ecc.corrected", gpu.ecc.corrected)
            self._count("ecc.uncorrected", gpu.ecc.uncorrected)
            self._count("ecc.corrected_volatile", gpu.ecc.corrected_volatile)
            self._count("ecc.uncorrected_volatile", gpu.ecc.uncorrected_volatile)
        links = gpu.nvlink.links if gpu.nvlink is not None else None
        if links is not None and links != self._links:
            self._links = links
            self._take_links(links)

    def _take_pcie(self, pcie: Pcie) -> None:
        self._pcie_gen.take(pcie.gen, self.now)
        self._pcie_width.take(pcie.width, self.now)
        self._count("pcie.replays", pcie.replays)
        for name, value in (pcie.errors or {}).items():
            self._count(f"pcie.errors.{name}", value)

    def _take_links(self, links: Sequence[NvLinkPort]) -> None:
        for port in links:
            if port.state == "up":
                self.ports_when_up[port.index] = port
            for name, value in (port.errors or {}).items():
                if self._count(f"nvlink.{port.index}.{name}", value):
                    self.links_with_errors.add(port.index)

    def _take_xids(self, xids: Sequence[Xid], wall: float) -> None:
        for xid in xids:
            counter = self._counters.get(f"xid.{xid.code}")
            if counter is None:
                counter = self._counters[f"xid.{xid.code}"] = _Counter(0)
                # What came before the first look came when it says it came.
                counter.take(xid.count, self.now - max(0.0, wall - xid.last_seen))
            else:
                counter.take(xid.count, self.now)

    def _count(self, name: str, value: int | None) -> bool:
        if value is None:
            return False
        counter = self._counters.get(name)
        if counter is None:
            self._counters[name] = _Counter(value)
            return False
        return counter.take(value, self.now)


NOTHING = GpuTally()
"""Of a GPU that nobody has watched yet."""


class Tallies:
    """All GPUs' tallies; belongs to the engine, which gives every window a look at them."""

    def __init__(self) -> None:
        self._gpus: dict[str, GpuTally] = {}

    def take(self, frame: Frame, now: float) -> Mapping[str, GpuTally]:
        """Take a frame in, and give the tallies by UUID."""
        for gpu in frame.gpus:
            tally = self._gpus.get(gpu.uuid)
            if tally is None:
                tally = self._gpus[gpu.uuid] = GpuTally()
            tally.take(gpu, frame.taken_at, now)
        gone = [uuid for uuid, tally in self._gpus.items() if now - tally.now > _FORGET_GPU_AFTER_S]
        for uuid in gone:
            del self._gpus[uuid]
        return self._gpus
