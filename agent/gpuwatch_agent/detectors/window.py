"""What detectors see: the newest frame, the last hour of every series, and the groups of ranks.

Values that a GPU did not have, or had not answered with, are NaN in the series; a mean over too few of them is `None`.
Nothing here changes: whoever asks twice gets the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from gpuwatch_agent.detectors.baseline import BusyBaseline
from gpuwatch_agent.detectors.groups import Group, groups_of
from gpuwatch_agent.detectors.tallies import NOTHING, GpuTally
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

# Below this share of readings in a stretch of time, what they say is not said.
MIN_COVERAGE = 0.5


class GpuView:
    """One GPU: its newest row, and its series by the names in `model/metrics.py`."""

    def __init__(self, gpu: Gpu, history: History, baseline: BusyBaseline | None, tally: GpuTally = NOTHING) -> None:
        self.gpu = gpu
        self.tally = tally
        """What the series do not hold: steps of error counters, Xids, the NVLinks that were up."""
        self.baseline = baseline
        """What it is like when it works, from the hour before; `None` until it has worked for a while."""
        self._history = history
        self._remembered: dict[tuple[str, str, float], float | None] = {}
        self._columns: dict[tuple[str, float], Sequence[float]] = {}

    @property
    def index(self) -> int:
        return self.gpu.index

    @property
    def uuid(self) -> str:
        return self.gpu.uuid

    @property
    def answers(self) -> bool:
        """Whether its values are fresh."""
        return self.gpu.state == "ok"

    @property
    def label(self) -> str:
        """How people call it."""
        return f"GPU {self.gpu.index}"

    def values(self, name: str, seconds: float) -> Sequence[float]:
        """The last seconds of a series, one value a second, the newest last, gaps as NaN; empty if it never had one."""
        key = (name, seconds)
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = self._history.recent(self.gpu.uuid, name, seconds)
        return found

    def mean(self, name: str, seconds: float) -> float | None:
        """The mean over the last seconds, where at least half of them have a value."""
        return self._once("mean", name, seconds, _mean)

    def least(self, name: str, seconds: float) -> float | None:
        """The smallest value, likewise."""
        return self._once("least", name, seconds, _least)

    def most(self, name: str, seconds: float) -> float | None:
        """The largest value, likewise."""
        return self._once("most", name, seconds, _most)

    def first(self, name: str, seconds: float) -> float | None:
        """The oldest value there is within the last seconds."""
        return self._once("first", name, seconds, _first)

    def increase(self, name: str, seconds: float) -> float | None:
        """By how much a counter grew within the last seconds; where it went back it started again, and counts from there."""
        return self._once("increase", name, seconds, _increase)

    def share(self, name: str, seconds: float) -> float | None:
        """The share of time a counter of seconds ran: 0 to 1, over the time that its readings cover."""
        return self._once("share", name, seconds, _share)

    def _once(
        self, what: str, name: str, seconds: float, reckon: Callable[[Sequence[float]], float | None]
    ) -> float | None:
        key = (what, name, seconds)
        if key not in self._remembered:
            self._remembered[key] = reckon(self.values(name, seconds))
        return self._remembered[key]


class Window:
    """A node at one moment, with what led there."""

    def __init__(
        self,
        frame: Frame,
        history: History,
        *,
        watched_s: float,
        baselines: Mapping[str, BusyBaseline] | None = None,
        declared_groups: Mapping[str, Sequence[int]] | None = None,
        tallies: Mapping[str, GpuTally] | None = None,
        topology: Callable[[], Topology | None] = lambda: None,
        said: Mapping[tuple[str, str], Severity] | None = None,
        named: Mapping[tuple[str, str], frozenset[int]] | None = None,
    ) -> None:
        self.frame = frame
        self.said = said or {}
        """How severe what stands now was said to be, by kind and key: for who would flutter between two severities."""
        self.named = named or {}
        """Which GPUs what stands now names, likewise."""
        self.watched_s = watched_s
        """For how long this agent has been watching."""
        self.lasted_s: Mapping[str, float] = {}
        """For how long each suspicion of the detector that is asked has lasted, by its key."""
        self._topology = topology
        known, tallied = baselines or {}, tallies or {}
        self.gpus = [GpuView(gpu, history, known.get(gpu.uuid), tallied.get(gpu.uuid, NOTHING)) for gpu in frame.gpus]
        self.groups: list[Group] = groups_of(frame.gpus, declared_groups or {})
        self._by_uuid = {view.uuid: view for view in self.gpus}
        self.memo: dict[str, object] = {}
        """What several detectors would else work out anew, each under a key of its own."""

    @property
    def wall(self) -> float:
        """Unix seconds of the newest frame."""
        return self.frame.taken_at

    @property
    def topology(self) -> Topology | None:
        """How the GPUs are wired, where that is known; it costs something to draw up, so ask only when it matters."""
        return self._topology()

    @property
    def uptime_s(self) -> float | None:
        """For how long the machine has been up."""
        return self.frame.host.uptime_s if self.frame.host is not None else None

    def view(self, uuid: str) -> GpuView:
        return self._by_uuid[uuid]

    def members(self, group: Group) -> list[GpuView]:
        """The GPUs of a group, in the order of its ranks."""
        return [self._by_uuid[uuid] for uuid in group.uuids if uuid in self._by_uuid]

    def siblings(self, view: GpuView) -> list[GpuView]:
        """The other fresh GPUs of the same model."""
        return [one for one in self.gpus if one is not view and one.answers and one.gpu.name == view.gpu.name]


def _present(values: Sequence[float]) -> list[float]:
    return [value for value in values if value == value]  # noqa: PLR0124  # NaN is what differs from itself


def _enough(values: Sequence[float]) -> list[float]:
    present = _present(values)
    return present if present and len(present) >= MIN_COVERAGE * len(values) else []


def _mean(values: Sequence[float]) -> float | None:
    present = _enough(values)
    return math.fsum(present) / len(present) if present else None


def _least(values: Sequence[float]) -> float | None:
    present = _enough(values)
    return min(present) if present else None


def _most(values: Sequence[float]) -> float | None:
    present = _enough(values)
    return max(present) if present else None


def _first(values: Sequence[float]) -> float | None:
    present = _present(values)
    return present[0] if present else None


def _increase(values: Sequence[float]) -> float | None:
    present = _present(values)
    if len(present) < 2:
        return None
    # A counter that went back was reset: what it shows then has come since.
    return math.fsum(after - before if after >= before else after for before, after in pairwise(present))


def _share(values: Sequence[float]) -> float | None:
    places = [place for place, value in enumerate(values) if value == value]  # noqa: PLR0124  # as above
    if len(places) < 2 or places[-1] - places[0] < MIN_COVERAGE * (len(values) - 1):
        return None
    if values[places[0]] == values[places[-1]]:
        return 0.0
    ran = 0.0
    for before, after in pairwise(places):
        grown = values[after] - values[before]
        # Time can't run faster than time: what a restart or a jump adds beyond that was not measured here.
        ran += min(after - before, grown if grown >= 0 else values[after])
    return ran / (places[-1] - places[0])
