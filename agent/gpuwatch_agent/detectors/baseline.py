"""What a GPU is like when it works: its own yardstick, taken from its own past.

Tensor-parallel ranks that wait read 100 % busy, so utilisation tells nothing; a rank's power against what it draws when
all goes well does. The baseline is looked up once a minute from the hour's history, leaving out the newest minutes so
that a fault does not become its own yardstick.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median

from msgspec import Struct

from gpuwatch_agent.detectors.frozen import without_frozen
from gpuwatch_agent.history import History
from gpuwatch_agent.model.gpu import Gpu

BUSY_PCT = 50.0
# The upper part of what they did while busy, but for the top: a fault only ever pulls down, and peaks are not usual.
_BAND = (0.5, 0.9)
# More seconds than this tell nothing more.
_ENOUGH = 200
# So many seconds on either side say how high the load was.
_ABOUT = 4
_LEAVE_OUT_S = 60
_LEAST_BUSY_S = 45
# So much of a first yardstick must do, until there is more: without one a small delay is not seen at all.
_FIRST_LEAVE_OUT_S = 25
_FIRST_BUSY_S = 30
# Of those so many with a value: readings drop out now and then.
_LEAST_VALUES = 20
# A clock may well stand still for an hour.
_NEVER_STILL = frozenset({"power_w"})
_METRICS: tuple[str, ...] = (
    "power_w",
    "sm_clock_mhz",
    "nvlink.tx_bytes_per_s",
    "sm_activity_pct",
    "dram_activity_pct",
    "pcie.tx_bytes_per_s",
    "temperature_c",
)


class BusyBaseline(Struct, frozen=True, kw_only=True):
    """Typical values of a busy GPU; those it does not have are `None`."""

    busy_s: int
    """From how many busy seconds this was taken."""
    power_w: float | None = None
    sm_clock_mhz: float | None = None
    nvlink_bytes_per_s: float | None = None
    pcie_bytes_per_s: float | None = None
    sm_activity_pct: float | None = None
    dram_activity_pct: float | None = None
    temperature_c: float | None = None


def busy_baselines(
    history: History,
    uuids: Sequence[str],
    seconds: float = 3600,
    left_out: Sequence[tuple[float, float]] = (),
    *,
    first: bool = False,
) -> dict[str, BusyBaseline]:
    """The yardsticks of GPUs that work together, from the same seconds of the last hour; none where they hardly worked.

    Yardsticks from different seconds would make a change of load look like a change of one rank. `left_out` are stretches
    of trouble, from so many seconds ago to so many; a `first` yardstick makes do with less.
    """
    newest_left_out, least = (_FIRST_LEAVE_OUT_S, _FIRST_BUSY_S) if first else (_LEAVE_OUT_S, _LEAST_BUSY_S)
    loads = {uuid: history.recent(uuid, "utilization_pct", seconds) for uuid in uuids}
    known = [uuid for uuid in uuids if len(loads[uuid]) > newest_left_out]
    places = _busy_places([loads[uuid][:-newest_left_out] for uuid in known])
    if left_out and known:
        newest = len(loads[known[0]]) - 1
        places = [place for place in places if not any(since >= newest - place >= until for since, until in left_out)]
    if len(places) < least:
        return {}
    found = [_usual(_columns(history, known, name, seconds), places) for name in _METRICS]
    return {
        uuid: BusyBaseline(
            busy_s=len(places),
            power_w=found[0].get(uuid),
            sm_clock_mhz=found[1].get(uuid),
            nvlink_bytes_per_s=found[2].get(uuid),
            # Activity is told among siblings as finely: it can wait for a yardstick with less noise.
            sm_activity_pct=found[3].get(uuid) if not first else None,
            dram_activity_pct=found[4].get(uuid),
            pcie_bytes_per_s=found[5].get(uuid),
            temperature_c=found[6].get(uuid),
        )
        for uuid in known
    }


def job_age_s(gpu: Gpu, wall: float) -> float:
    """For how long the job there has run: what an earlier one did is no yardstick for it."""
    started = [one.started_at for one in gpu.processes or () if one.tp_group is not None and one.started_at is not None]
    return max(1.0, wall - max(started)) if started else 3600.0


def _busy_places(loads: Sequence[Sequence[float]]) -> list[int]:
    """The seconds in which all that were read were busy."""
    rows = zip(*loads, strict=True)
    return [place for place, row in enumerate(rows) if _all_busy(row)]


def _all_busy(row: Sequence[float]) -> bool:
    if min(row) >= BUSY_PCT:
        total = sum(row)
        if total == total:  # noqa: PLR0124  # NaN is what differs from itself
            return True
    present = [value for value in row if value == value]  # noqa: PLR0124  # likewise
    return 2 * len(present) >= len(row) and bool(present) and min(present) >= BUSY_PCT


def _columns(history: History, uuids: Sequence[str], name: str, seconds: float) -> dict[str, Sequence[float]]:
    columns = [history.recent(uuid, name, seconds) for uuid in uuids]
    if name in _NEVER_STILL and len({len(column) for column in columns}) == 1:
        columns = without_frozen(columns)
    return dict(zip(uuids, columns, strict=True))


def _usual(columns: Mapping[str, Sequence[float]], places: Sequence[int]) -> dict[str, float]:
    """Each GPU's share of what the group as a whole was at when it was at its usual level.

    A quantile of each rank by itself would come from another second for each: where the load has two levels, and
    sensors that look at other instants, equal ranks would seem to differ by the step between them.
    """
    chosen = {uuid: [column[place] for place in places] for uuid, column in columns.items() if column}
    full = {uuid: values for uuid, values in chosen.items() if 2 * _count(values) >= len(places)}
    if not full:
        return {}
    rows = [row for row in zip(*full.values(), strict=True) if (total := sum(row)) == total]
    if len(rows) < _LEAST_VALUES:
        return {}
    levels = _smoothed([sum(row) for row in rows])
    order = sorted(range(len(rows)), key=levels.__getitem__)
    chosen_places = order[int(_BAND[0] * len(rows)) : int(_BAND[1] * len(rows))]
    band = [rows[place] for place in chosen_places[:: max(1, len(chosen_places) // _ENOUGH)]]
    level = sum(map(sum, band)) / len(band)
    # The middle of the shares: seconds in which a burst has reached one sensor and not another are few, and far off.
    shares = zip(
        *([value / total if (total := sum(row)) else 1.0 / len(row) for value in row] for row in band), strict=True
    )
    return {uuid: level * median(values) for uuid, values in zip(full, shares, strict=True)}


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean about each place: who looks a moment later at a burst than its siblings must not be left out of it."""
    sums = [0.0, *accumulate(values)]
    ends = [(max(0, place - _ABOUT), min(len(values), place + _ABOUT + 1)) for place in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in ends]


def _count(values: Sequence[float]) -> int:
    return sum(value == value for value in values)  # noqa: PLR0124
