"""What a large terminal has room for below the tables: the last minutes as charts, all on the same scale."""

from collections.abc import Collection
from math import isnan, log

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import SIGNS
from gpuwatch.tui.drawing.area import area_lines
from gpuwatch.tui.drawing.charts import Chart, charts_of, fitted_scale, power_chart, told, told_limit
from gpuwatch.tui.drawing.marks import marked
from gpuwatch.tui.drawing.sparkline import bucket_means
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.model.gpu import Gpu

_LEAST_WIDTH, _LEAST_HEIGHT = 36, 3
# Cells in a line for each line of a chart.
_BEST_SHAPE = 7.0
_SPANS_S = (120, 300, 600, 1200, 3600)


def charts_below(moment: Moment, width: int, height: int, of: Collection[str] | None = None) -> list[Line]:
    """Power of each GPU (or of those UUIDs) beside the others; of a single GPU everything that moves."""
    gpus = [gpu for gpu in moment.frame.gpus if gpu.state != "lost" and (of is None or gpu.uuid in of)]
    if not gpus:
        return []
    if len(gpus) == 1:
        panels = [(gpus[0], chart) for chart in charts_of(gpus[0])]
    else:
        panels = [
            (gpu, chart) for gpu in gpus for chart in [power_chart(gpu, f"GPU {gpu.index} power")] if chart is not None
        ]
    if not panels:
        return []
    marks = {gpu.uuid: mark for gpu, _, mark in marked(moment.frame)} if len(gpus) > 1 else {}
    across, down = _grid(len(panels), width, height - 1)
    if down == 0 or (len(gpus) > 1 and across * down < len(panels)):
        return []  # some of the GPUs would look like all of them
    shown = panels[: across * down]
    cells = (width - (across - 1) * 2) // across
    lines_each = (height - 1) // down
    seconds = next((span for span in _SPANS_S if span >= (cells - 1) * 2), _SPANS_S[-1])
    seconds_a_cell = max(1, -(-seconds // cells))
    span_min = seconds_a_cell * cells / 60
    head = f" the last {span_min:.0f} min "
    lines: list[Line] = [[Span("─", "rule"), Span(head, "dim"), Span("─" * max(width - len(head) - 1, 0), "rule")]]
    for first in range(0, len(shown), across):
        drawn = [
            _panel(moment, gpu, chart, (cells, lines_each), seconds_a_cell, mark=marks.get(gpu.uuid, ""))
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
    """How many beside and below each other, so that a chart is a picture and no strip, and all have their least height."""
    most = max(width // _LEAST_WIDTH, 1)
    forms = [(across, -(-count // across)) for across in range(1, min(most, count) + 1)]
    fitting = [(across, down) for across, down in forms if down * _LEAST_HEIGHT <= height]
    if not fitting:
        return most, height // _LEAST_HEIGHT
    return min(fitting, key=lambda form: abs(log(width / form[0] / (height / form[1]) / _BEST_SHAPE)))


def _panel(
    moment: Moment, gpu: Gpu, chart: Chart, size: tuple[int, int], seconds_a_cell: int, *, mark: str
) -> list[Line]:
    width, height = size
    values = moment.recent(gpu.uuid, chart.metric, width * seconds_a_cell)
    means = bucket_means(values, moment.frame.taken_at, seconds_a_cell, width)
    newest = next((value for value in reversed(values) if not isnan(value)), None)
    limit = "" if chart.limit is None else f" / {told_limit(chart.limit, chart)}"
    now = "–" if newest is None else told(newest, chart)
    alarm = mark if mark in {"warning", "critical"} else ""
    sign = [Span(f" {SIGNS[alarm]}", alarm)] if alarm else []
    title: Line = [*sign, Span(f" {chart.title} ", alarm or "dim"), Span(now), Span(f"{limit} {chart.unit}", "dim")]
    return [
        fit_line(title, width),
        *area_lines(means, fitted_scale(chart, means), height - 1, f"chart {alarm}".rstrip(), chart.limit),
    ]
