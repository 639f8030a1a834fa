"""What a large terminal has room for below the tables: the last minutes as charts, all on the same scale."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.units import gib, whole
from gpuwatch.tui.drawing.area import area_lines
from gpuwatch.tui.drawing.sparkline import bucket_means
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.model.gpu import Gpu

_LEAST_WIDTH, _LEAST_HEIGHT = 36, 3
_SPANS_S = (120, 300, 600, 1200, 3600)


class _Chart(NamedTuple):
    title: str
    metric: str
    low: float
    high: float
    limit: float | None
    scale: float
    unit: str


def charts_below(moment: Moment, width: int, height: int) -> list[Line]:
    """Power of each GPU beside the others; of a single GPU everything that moves."""
    gpus = [gpu for gpu in moment.frame.gpus if gpu.state != "lost"]
    if not gpus:
        return []
    if len(gpus) == 1:
        panels = [(gpus[0], chart) for chart in _charts_of(gpus[0])]
    else:
        panels = [
            (gpu, chart) for gpu in gpus for chart in [_power(gpu, f"GPU {gpu.index} power")] if chart is not None
        ]
    if not panels:
        return []
    across, down = _grid(len(panels), width, height - 1)
    if down == 0 or (len(gpus) > 1 and across * down < len(panels)):
        return []  # some of the GPUs would look like all of them
    shown = panels[: across * down]
    cells = (width - (across - 1) * 2) // across
    lines_each = (height - 1) // down
    seconds = next((span for span in _SPANS_S if span >= (cells - 1) * 2), _SPANS_S[-1])
    seconds_a_cell = max(1, -(-seconds // cells))
    span_min = seconds_a_cell * cells / 60
    head = f"─ the last {span_min:.0f} min "
    lines: list[Line] = [[Span(head + "─" * max(width - len(head), 0), "rule")]]
    for first in range(0, len(shown), across):
        drawn = [
            _panel(moment, gpu, chart, (cells, lines_each), seconds_a_cell)
            for gpu, chart in shown[first : first + across]
        ]
        for y in range(lines_each):
            line: Line = []
            for position, panel in enumerate(drawn):
                part = panel[y] if y < len(panel) else []
                line += [*part, Span(" " * (cells - line_cells(part)))]
                if position + 1 < len(drawn):
                    line.append(Span("  "))
            lines.append(line)
    return lines[:height]


def _grid(count: int, width: int, height: int) -> tuple[int, int]:
    """How many beside and below each other, as wide as possible while all have their least height."""
    for across in range(1, max(width // _LEAST_WIDTH, 1) + 1):
        down = -(-count // across)
        if down * _LEAST_HEIGHT <= height:
            return across, down
    across = max(width // _LEAST_WIDTH, 1)
    return across, height // _LEAST_HEIGHT


def _panel(moment: Moment, gpu: Gpu, chart: _Chart, size: tuple[int, int], seconds_a_cell: int) -> list[Line]:
    width, height = size
    values = moment.recent(gpu.uuid, chart.metric, width * seconds_a_cell)
    means = bucket_means(values, moment.frame.taken_at, seconds_a_cell, width)
    newest = next((value for value in reversed(values) if not isnan(value)), None)
    limit = "" if chart.limit is None else f" / {_number(chart.limit, chart)}"
    now = "–" if newest is None else _number(newest, chart)
    title: Line = [Span(f" {chart.title} ", "dim"), Span(now), Span(f"{limit} {chart.unit}", "dim")]
    return [fit_line(title, width), *area_lines(means, (chart.low, chart.high), height - 1, "chart", chart.limit)]


def _number(value: float, chart: _Chart) -> str:
    return gib(int(value)) if chart.unit == "GiB" else whole(value * chart.scale)


def _charts_of(gpu: Gpu) -> Sequence[_Chart]:
    charts = [
        _Chart("utilisation", "utilization_pct", 0.0, 100.0, None, 1.0, "%"),
        _power(gpu, "power"),
        _Chart("SM activity", "sm_activity_pct", 0.0, 100.0, None, 1.0, "%")
        if gpu.sm_activity_pct is not None
        else None,
        _Chart(
            "memory", "memory_used_bytes", 0.0, float(gpu.memory_total_bytes), float(gpu.memory_total_bytes), 1.0, "GiB"
        )
        if gpu.memory_total_bytes
        else None,
        _Chart(
            "temperature",
            "temperature_c",
            20.0,
            max(100.0, gpu.temperature_slowdown_c or 0),
            gpu.temperature_slowdown_c,
            1.0,
            "°C",
        ),
        _Chart("SM clock", "sm_clock_mhz", 0.0, float(gpu.sm_clock_max_mhz), float(gpu.sm_clock_max_mhz), 1.0, "MHz")
        if gpu.sm_clock_max_mhz
        else None,
    ]
    return [chart for chart in charts if chart is not None]


def _power(gpu: Gpu, title: str) -> _Chart | None:
    limit = gpu.power_limit_w or gpu.power_limit_default_w
    return _Chart(title, "power_w", 0.0, limit, limit, 1.0, "W") if limit else None
