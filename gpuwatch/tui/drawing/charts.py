"""What is worth a chart of a GPU, each with the scale and the limit that belong to the board."""

from collections.abc import Sequence
from typing import NamedTuple

from gpuwatch.render.units import gib, gib_total, gigabytes_per_s, whole
from gpuwatch_agent.model.gpu import Gpu

# A trickle shall not look like a stream.
_LEAST_RATE_SCALE = 1e9


class Chart(NamedTuple):
    """One metric over time."""

    title: str
    metric: str
    scale: tuple[float, float]
    limit: float | None
    unit: str


def charts_of(gpu: Gpu) -> Sequence[Chart]:
    """The charts of one GPU, what tells most first; what the board never tells has none."""
    charts: list[Chart | None] = [
        power_chart(gpu, "power"),
        _share("utilisation", "utilization_pct", gpu.utilization_pct),
        _share("SM activity", "sm_activity_pct", gpu.sm_activity_pct),
        _heat(gpu),
        _upto("SM clock", "sm_clock_mhz", gpu.sm_clock_max_mhz, "MHz"),
        _upto("memory", "memory_used_bytes", gpu.memory_total_bytes, "GiB"),
        _share("DRAM activity", "dram_activity_pct", gpu.dram_activity_pct),
        _share("tensor activity", "tensor_activity_pct", gpu.tensor_activity_pct),
        _rate("NVLink sent", "nvlink.tx_bytes_per_s", gpu.nvlink.tx_bytes_per_s if gpu.nvlink is not None else None),
        _rate("PCIe received", "pcie.rx_bytes_per_s", gpu.pcie.rx_bytes_per_s if gpu.pcie is not None else None),
    ]
    return [chart for chart in charts if chart is not None]


def power_chart(gpu: Gpu, title: str) -> Chart | None:
    """Power on a scale up to the board's own limit, with the limit in force drawn in."""
    limit = gpu.power_limit_w or gpu.power_limit_default_w
    most = max(limit or 0.0, gpu.power_limit_default_w or 0.0)
    return Chart(title, "power_w", (0.0, most), limit, "W") if most else None


def told(value: float, chart: Chart) -> str:
    """The value as people read it, without its unit."""
    if chart.unit == "GiB":
        return gib(int(value))
    return gigabytes_per_s(value) if chart.unit == "GB/s" else whole(value)


def told_limit(value: float, chart: Chart) -> str:
    """The chart's limit as people name it: memory by its size on the box."""
    return gib_total(int(value)) if chart.unit == "GiB" else told(value, chart)


def _share(title: str, metric: str, now: float | None) -> Chart | None:
    return Chart(title, metric, (0.0, 100.0), None, "%") if now is not None else None


def _upto(title: str, metric: str, most: float | None, unit: str) -> Chart | None:
    return Chart(title, metric, (0.0, float(most)), float(most), unit) if most else None


def _heat(gpu: Gpu) -> Chart | None:
    limit = gpu.temperature_slowdown_c
    return Chart("temperature", "temperature_c", (20.0, max(100.0, limit or 0.0)), limit, "°C")


def _rate(title: str, metric: str, now: float | None) -> Chart | None:
    """The scale of a rate is not known beforehand: it is drawn up to the highest seen."""
    return Chart(title, metric, (0.0, 0.0), None, "GB/s") if now is not None else None


def fitted_scale(chart: Chart, means: Sequence[float | None]) -> tuple[float, float]:
    """The chart's own scale, or one up to the highest value where it has none."""
    low, high = chart.scale
    return chart.scale if high > low else (0.0, max([_LEAST_RATE_SCALE, *(mean for mean in means if mean is not None)]))
