"""The last hour of every number, at one value a second, in arrays whose size does not change."""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS, SPECS, MetricSpec, Value, reader

Reduction = Literal["last", "mean"]
MOST_VALUES = 250_000
"""One answer holds no more: encoding it takes a tenth of a second and some 4 MB."""

if TYPE_CHECKING:
    Column = array[float]
else:
    Column = array  # can't be subscripted at run time before Python 3.12

_read_gpu = reader(GPU_SPECS)
_read_host = reader(HOST_SPECS)


class HistorySeries(Struct, frozen=True, kw_only=True):
    """One metric of one GPU, or of the host where `gpu` is null; null where there was no value."""

    metric: str
    unit: str
    gpu: int | None = None
    uuid: str | None = None
    method: Reduction
    """What stands for a step that covers several seconds: the last value in it, or the mean of all in it."""
    values: list[float | int | None]


class HistoryAnswer(Struct, frozen=True, kw_only=True):
    """Series on a common axis: points are `step_s` apart by a clock that never jumps, the newest last."""

    schema: int = 1
    step_s: float
    taken_at: list[float | None]
    """Wall clock of each point's newest frame; null where there was none."""
    series: list[HistorySeries]


class _Rows:
    """The series of one owner; an array is made when its first value comes, so what a board lacks costs nothing."""

    __slots__ = ("columns", "index", "newest_slot", "specs")

    def __init__(self, specs: Sequence[MetricSpec], index: int | None) -> None:
        self.specs = specs
        self.index = index
        self.newest_slot = -1
        self.columns: list[Column | None] = [None] * len(specs)

    def write(self, place: int, values: Sequence[Value], capacity: int) -> None:
        columns = self.columns
        for position, value in enumerate(values):
            column = columns[position]
            if column is not None:
                column[place] = nan if value is None else value
            elif value is not None:
                column = columns[position] = array(self.specs[position].typecode, [nan]) * capacity
                column[place] = value

    def blank(self, first: int, last: int) -> None:
        for column in self.columns:
            if column is not None:
                column[first:last] = array(column.typecode, [nan]) * (last - first)

    def size_bytes(self) -> int:
        return sum(len(column) * column.itemsize for column in self.columns if column is not None)


class _Cut(Struct, frozen=True, gc=False):
    """One series as it was at the moment of the question."""

    spec: MetricSpec
    gpu: int | None
    uuid: str | None
    column: Column | None


class Selection:
    """A copy of what a question is about: `answer` may be worked out beside the loop that goes on writing."""

    def __init__(self, cuts: list[_Cut], wall: Column, first_slot: int, step_slots: int, step_s: float) -> None:
        self._cuts = cuts
        self._wall = wall
        self._step_s = step_s
        self._step_slots = step_slots
        # Steps are laid on multiples of their length, so that asking again later gives the same points.
        lead = -first_slot % step_slots
        edges = [0, *range(lead or step_slots, len(wall), step_slots), len(wall)]
        self._bounds = list(pairwise(edges)) if len(wall) else []

    @property
    def value_count(self) -> int:
        """How many values the answer will hold."""
        return len(self._bounds) * len(self._cuts)

    def answer(self, method: Reduction = "mean") -> HistoryAnswer:
        """Work the series out."""
        return HistoryAnswer(
            step_s=self._step_s * self._step_slots,
            taken_at=[_last(self._wall, first, end) for first, end in self._bounds],
            series=[self._series(cut, method) for cut in self._cuts],
        )

    def _series(self, cut: _Cut, wanted: Reduction) -> HistorySeries:
        spec = cut.spec
        single = self._step_slots == 1
        method: Reduction = "last" if single or spec.kind == "counter" or spec.unit == "bool" else wanted
        values: list[float | int | None]
        if cut.column is None:
            values = [None] * len(self._bounds)
        elif single:
            values = [None if isnan(value) else value for value in cut.column]
        else:
            take = _last if method == "last" else _mean
            values = [take(cut.column, first, end) for first, end in self._bounds]
        if spec.whole and method == "last":
            values = [None if value is None else int(value) for value in values]
        elif spec.typecode == "f" or method == "mean":
            values = [None if value is None else round(value, 3) for value in values]
        return HistorySeries(metric=spec.name, unit=spec.unit, gpu=cut.gpu, uuid=cut.uuid, method=method, values=values)


class History:
    """A ring of slots by the monotonic clock. One loop appends and selects; nothing here is for several threads."""

    def __init__(self, seconds: float = 3600, step_s: float = 1.0) -> None:
        self.step_s = step_s
        self.capacity = max(1, round(seconds / step_s))
        self._wall = array("d", [nan]) * self.capacity
        self._gpus: dict[str, _Rows] = {}
        self._host = _Rows(HOST_SPECS, None)
        self._first_slot = 0
        self._slot: int | None = None
        self._pending: Frame | None = None

    def append(self, frame: Frame, at_monotonic: float) -> None:
        """Take a frame in; within one slot the last frame wins."""
        slot = int(at_monotonic // self.step_s)
        if self._slot is None:
            self._slot = self._first_slot = slot
        elif slot > self._slot:
            self._advance(slot)
        # Arrays are touched once a slot, when it is complete or somebody asks: most appends keep a reference only.
        self._pending = frame

    def select(
        self,
        metrics: Sequence[str] | None = None,
        gpus: Sequence[str] | None = None,
        *,
        seconds: float | None = None,
        since: float | None = None,
        step_s: float | None = None,
        at_monotonic: float | None = None,
    ) -> Selection:
        """Copy what is asked for: metrics by name, GPUs by index or UUID, all where `None`; `since` is wall time."""
        specs = _named(metrics)
        step_slots = self._step_slots(step_s)
        self._settle(at_monotonic)
        owners = self._owners(gpus)
        first, end = self._span(seconds, since)
        places = self._places(first, end)
        host_wanted = gpus is None or metrics is not None
        cuts = [
            _Cut(spec, rows.index, uuid, _cut(rows.columns[position], places))
            for uuid, rows in owners
            for position, spec in enumerate(GPU_SPECS)
            if spec.name in specs
        ]
        cuts += [
            _Cut(spec, None, None, _cut(self._host.columns[position], places))
            for position, spec in enumerate(HOST_SPECS)
            if host_wanted and spec.name in specs
        ]
        wall = _cut(self._wall, places) or self._wall[:0]
        return Selection(cuts, wall, first, step_slots, self.step_s)

    def query(
        self,
        metrics: Sequence[str] | None = None,
        gpus: Sequence[str] | None = None,
        *,
        seconds: float | None = None,
        since: float | None = None,
        step_s: float | None = None,
        method: Reduction = "mean",
        at_monotonic: float | None = None,
    ) -> HistoryAnswer:
        """Answer at once; see `select`."""
        return self.select(
            metrics, gpus, seconds=seconds, since=since, step_s=step_s, at_monotonic=at_monotonic
        ).answer(method)

    def size_bytes(self) -> int:
        """Memory of all arrays."""
        rows = sum(rows.size_bytes() for rows in (self._host, *self._gpus.values()))
        return rows + len(self._wall) * self._wall.itemsize

    def _settle(self, at_monotonic: float | None) -> None:
        """Write the newest frame down, and let time without frames show as a gap."""
        if self._slot is None:
            return
        self._write_pending()
        if at_monotonic is not None:
            slot = int(at_monotonic // self.step_s)
            if slot > self._slot:
                self._advance(slot)

    def _advance(self, slot: int) -> None:
        self._write_pending()
        self._pending = None
        previous = self._slot
        if previous is None:
            return
        self._slot = slot
        self._blank(previous + 1, slot + 1)
        oldest = slot - self.capacity + 1
        self._first_slot = max(self._first_slot, oldest)
        for uuid in [uuid for uuid, rows in self._gpus.items() if rows.newest_slot < oldest]:
            del self._gpus[uuid]

    def _blank(self, first: int, end: int) -> None:
        for place, stop in self._places(max(first, end - self.capacity), end):
            self._wall[place:stop] = array("d", [nan]) * (stop - place)
            self._host.blank(place, stop)
            for rows in self._gpus.values():
                rows.blank(place, stop)

    def _write_pending(self) -> None:
        frame, slot = self._pending, self._slot
        if frame is None or slot is None:
            return
        place = slot % self.capacity
        self._wall[place] = frame.taken_at
        if frame.host is not None:
            self._host.write(place, _read_host(frame.host), self.capacity)
        for gpu in frame.gpus:
            rows = self._gpus.get(gpu.uuid)
            if rows is None:
                rows = self._gpus[gpu.uuid] = _Rows(GPU_SPECS, gpu.index)
            rows.index = gpu.index
            rows.newest_slot = slot
            rows.write(place, _read_gpu(gpu), self.capacity)

    def _places(self, first: int, end: int) -> list[tuple[int, int]]:
        """Where slots lie in the ring: one stretch, or two where the ring's end is crossed."""
        if end <= first:
            return []
        start, count = first % self.capacity, end - first
        if start + count <= self.capacity:
            return [(start, start + count)]
        return [(start, self.capacity), (0, start + count - self.capacity)]

    def _span(self, seconds: float | None, since: float | None) -> tuple[int, int]:
        if self._slot is None:
            return 0, 0
        first, end = self._first_slot, self._slot + 1
        if seconds is not None:
            first = max(first, end - min(self.capacity, max(1, round(seconds / self.step_s))))
        if since is not None:
            # From the oldest slot that qualifies: after the wall clock was put back this gives more, never less.
            first = next((slot for slot in range(first, end) if self._wall[slot % self.capacity] >= since), end)
        return first, end

    def _step_slots(self, step_s: float | None) -> int:
        if step_s is None:
            return 1
        if not isfinite(step_s) or step_s < self.step_s or step_s > self.capacity * self.step_s:
            raise UsageError(
                f"A step of {step_s:g} s can't be given.",
                f"It must lie between {self.step_s:g} and {self.capacity * self.step_s:g} seconds.",
            )
        return round(step_s / self.step_s)

    def _owners(self, gpus: Sequence[str] | None) -> list[tuple[str, _Rows]]:
        known = sorted(self._gpus.items(), key=lambda item: item[1].index or 0)
        if gpus is None:
            return known
        chosen = [item for item in known if item[0] in gpus or str(item[1].index) in gpus]
        names = {uuid for uuid, _ in known} | {str(rows.index) for _, rows in known}
        strangers = [wanted for wanted in gpus if wanted not in names]
        if strangers:
            have = ", ".join(str(rows.index) for _, rows in known) or "none yet"
            raise UsageError(
                f"There is no GPU {', '.join(strangers)} in the history.",
                f"Ask by index or UUID; the history holds: {have}.",
            )
        return chosen


def _named(metrics: Sequence[str] | None) -> frozenset[str]:
    if metrics is None:
        return frozenset(SPECS)
    strangers = [name for name in metrics if name not in SPECS]
    if strangers:
        raise UsageError(
            f"There is no metric named {', '.join(repr(name) for name in strangers)}.",
            f"Allowed are: {', '.join(SPECS)}.",
        )
    return frozenset(metrics)


def _cut(column: Column | None, places: list[tuple[int, int]]) -> Column | None:
    if column is None:
        return None
    cut: Column = array(column.typecode)
    for first, end in places:
        cut += column[first:end]
    return cut


def _last(column: Column, first: int, end: int) -> float | None:
    for place in range(end - 1, first - 1, -1):
        if not isnan(column[place]):
            return column[place]
    return None


def _mean(column: Column, first: int, end: int) -> float | None:
    present = [value for value in column[first:end] if not isnan(value)]
    return sum(present) / len(present) if present else None
