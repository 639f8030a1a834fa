"""What a GPU is like when it works: its own yardstick, taken from its own past.

Tensor-parallel ranks that wait read 100 % busy, so utilisation tells nothing; a rank's power against what it draws when
all goes well does. The baseline is looked up once a minute from the hour's history, leaving out the newest minutes so
that a fault does not become its own yardstick.
"""

from collections.abc import Sequence

from msgspec import Struct

from gpuwatch_agent.history import History
from gpuwatch_agent.model.gpu import Gpu

BUSY_PCT = 50.0
# The upper part of what it did while busy: a fault only ever pulls down.
_QUANTILE = 0.75
_LEAVE_OUT_S = 60
_LEAST_BUSY_S = 45
# Of those so many with a value: readings drop out now and then.
_LEAST_VALUES = 30
_METRICS: tuple[str, ...] = (
    "power_w",
    "sm_clock_mhz",
    "nvlink.tx_bytes_per_s",
    "sm_activity_pct",
    "dram_activity_pct",
    "pcie.tx_bytes_per_s",
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


def busy_baseline(history: History, uuid: str, seconds: float = 3600) -> BusyBaseline | None:
    """The yardstick from the last hour, `None` where the GPU has hardly worked yet."""
    busy = history.recent(uuid, "utilization_pct", seconds)
    if len(busy) <= _LEAVE_OUT_S:
        return None
    kept = range(len(busy) - _LEAVE_OUT_S)
    places = [place for place in kept if busy[place] >= BUSY_PCT]
    if len(places) < _LEAST_BUSY_S:
        return None
    found = [_quantile(history.recent(uuid, name, seconds), places) for name in _METRICS]
    return BusyBaseline(
        busy_s=len(places),
        power_w=found[0],
        sm_clock_mhz=found[1],
        nvlink_bytes_per_s=found[2],
        sm_activity_pct=found[3],
        dram_activity_pct=found[4],
        pcie_bytes_per_s=found[5],
    )


def job_age_s(gpu: Gpu, wall: float) -> float:
    """For how long the job there has run: what an earlier one did is no yardstick for it."""
    started = [one.started_at for one in gpu.processes or () if one.tp_group is not None and one.started_at is not None]
    return max(1.0, wall - max(started)) if started else 3600.0


def _quantile(values: Sequence[float], places: Sequence[int]) -> float | None:
    if not values:
        return None
    present = sorted(value for place in places if (value := values[place]) == value)  # NaN is not equal to itself
    if len(present) < _LEAST_VALUES:
        return None
    return present[min(len(present) - 1, int(_QUANTILE * len(present)))]
