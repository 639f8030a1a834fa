"""What a large terminal has room for below the tables: the last minutes as charts, all on the same scale."""

from math import isnan

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.tui.drawing.area import area_lines
from gpuwatch.tui.drawing.charts import Chart, charts_of, fitted_scale, power_chart, told
from gpuwatch.tui.drawing.sparkline import bucket_means
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.model.gpu import Gpu

_LEAST_WIDTH, _LEAST_HEIGHT = 36, 3
_SPANS_S = (120, 300, 600, 1200, 3600)


def charts_below(moment: Moment, width: int, height: int) -> list[Line]:
    """Power of each GPU beside the others; of a single GPU everything that moves."""
    gpus = [gpu for gpu in moment.frame.gpus if gpu.state != "lost"]
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
    across, down = _grid(len(panels), width, height - 1)
    if down == 0 or (len(gpus) > 1 and across * down < len(panels)):
        return []  # some of the GPUs would look like all of them
    shown = panels[: across * down]
    cells = (width - (across - 1) * 2) // across
    lines_each = (height - 1) // down
    seconds = next((span for span in _SPANS_S if span >= (cells - 1) * 2), _SPANS_S[-1])
    seconds_a_cell = max(1, -(-seconds // cells))
    span_min = seconds_a_cell * cells / 60
    head = f"the last {span_min:.0f} min "
    rule = Span("─" * max(width - len(head) - 2, 0), "rule")
    lines: list[Line] = [[Span("─ ", "rule"), Span(head, "dim"), rule]]
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


def _panel(moment: Moment, gpu: Gpu, chart: Chart, size: tuple[int, int], seconds_a_cell: int) -> list[Line]:
    width, height = size
    values = moment.recent(gpu.uuid, chart.metric, width * seconds_a_cell)
    means = bucket_means(values, moment.frame.taken_at, seconds_a_cell, width)
    newest = next((value for value in reversed(values) if not isnan(value)), None)
    limit = "" if chart.limit is None else f" / {told(chart.limit, chart)}"
    now = "–" if newest is None else told(newest, chart)
    title: Line = [Span(f" {chart.title} ", "dim"), Span(now), Span(f"{limit} {chart.unit}", "dim")]
    return [fit_line(title, width), *area_lines(means, fitted_scale(chart, means), height - 1, "chart", chart.limit)]
