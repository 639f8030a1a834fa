"""GPM: how busy the chip's parts were, from two samples some time apart (Hopper and later, no root needed).

Never from two threads at once: it has crashed processes (leptonai/gpud, components/accelerator/nvidia/gpm). And not on
an idle GPU: profiling keeps it from its low-power states.
"""

import math
import threading
from collections.abc import Callable

from gpuwatch_agent.hardware.base import Profile
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.model.absence import Absence

_METRICS: dict[str, int] = {
    "engine_activity_pct": nvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
    "sm_activity_pct": nvml.NVML_GPM_METRIC_SM_UTIL,
    "sm_occupancy_pct": nvml.NVML_GPM_METRIC_SM_OCCUPANCY,
    "tensor_activity_pct": nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    "dram_activity_pct": nvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
    "pcie_tx_bytes_per_s": nvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC,
    "pcie_rx_bytes_per_s": nvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC,
}
_MEBIBYTE = 1 << 20

# The driver refreshes its samples every 100 ms: two taken closer together are one.
MIN_GAP_S = 0.12
# A second sample this late would average over a phase that nobody asked about.
MAX_GAP_S = 15.0

_one_at_a_time = threading.Lock()
_LOCK_WAIT_S = 0.05


def _absent(reason: Absence) -> Profile:
    return Profile(absent=dict.fromkeys(_METRICS, reason))


class GpmReader:
    """The GPM samples of one GPU, or of one MIG instance."""

    def __init__(self, handle: object, questions: Questions, clock: Callable[[], float], instance: int | None) -> None:
        self._handle = handle
        self._questions = questions
        self._clock = clock
        self._instance = instance
        self._older: object | None = None
        self._newer: object | None = None
        self._older_at = 0.0
        self._request: object | None = None
        self._latest: Profile | None = None

    def read(self, *, idle: bool) -> Profile:
        """Activity since the sample before; says why where there is none."""
        if idle:
            self._older_at = 0.0
            return _absent(Absence.GPU_IDLE)
        now = self._clock()
        if self._latest is not None and now - self._older_at < MIN_GAP_S:
            return self._latest
        if not _one_at_a_time.acquire(timeout=_LOCK_WAIT_S):
            return _absent(Absence.NO_ANSWER)
        try:
            self._latest = self._sample(now)
        finally:
            _one_at_a_time.release()
        return self._latest

    def _sample(self, now: float) -> Profile:
        refused = Profile()
        if self._newer is None and not self._prepare(refused):
            return _absent(refused.absent.get("gpm", Absence.NOT_SUPPORTED))
        if self._instance is None:
            taken = self._questions.ask(refused, "gpm", nvml.nvmlGpmSampleGet, self._handle, self._newer)
        else:
            taken = self._questions.ask(
                refused, "gpm", nvml.nvmlGpmMigSampleGet, self._handle, self._instance, self._newer
            )
        if taken is None:
            return _absent(refused.absent["gpm"])
        gap = now - self._older_at
        profile = self._compare() if MIN_GAP_S <= gap <= MAX_GAP_S else _absent(Absence.SECOND_READING)
        self._older, self._newer = self._newer, self._older
        self._older_at = now
        return profile

    def _prepare(self, refused: Profile) -> bool:
        support = self._questions.ask(refused, "gpm", nvml.nvmlGpmQueryDeviceSupport, self._handle)
        if support is None:
            return False
        if not support.isSupportedDevice:
            return False
        older = self._questions.ask(refused, "gpm", nvml.nvmlGpmSampleAlloc)
        newer = self._questions.ask(refused, "gpm", nvml.nvmlGpmSampleAlloc)
        if older is None or newer is None:
            return False
        self._older, self._newer = older, newer
        request = nvml.c_nvmlGpmMetricsGet_t()
        request.version = nvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(_METRICS)
        for slot, metric in enumerate(_METRICS.values()):
            request.metrics[slot].metricId = metric
        self._request = request
        return True

    def _compare(self) -> Profile:
        request = self._request
        request.sample1, request.sample2 = self._older, self._newer  # type: ignore[union-attr]  # made in _prepare
        refused = Profile()
        answer = self._questions.ask(refused, "gpm.metrics", nvml.nvmlGpmMetricsGet, request)
        if answer is None:
            return _absent(refused.absent["gpm.metrics"])
        profile = Profile()
        for slot, name in enumerate(_METRICS):
            metric = answer.metrics[slot]
            value = metric.value if metric.nvmlReturn == 0 and math.isfinite(metric.value) else None
            checked = _checked(name, value)
            if checked is None:
                unsupported = metric.nvmlReturn == nvml.NVML_ERROR_NOT_SUPPORTED
                profile.absent[name] = Absence.NOT_SUPPORTED if unsupported else Absence.IMPLAUSIBLE
            else:
                setattr(profile, name, checked)
        return profile


def _checked(name: str, value: float | None) -> float | None:
    if name.endswith("_pct"):
        return plausible.percentage(value)
    return value * _MEBIBYTE if value is not None and 0 <= value < 1 << 20 else None
