"""One GPU's everything, with charts of the last minutes to an hour."""

import time
from collections.abc import Sequence
from math import isnan
from typing import ClassVar

from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.facts import RANK
from gpuwatch.render.text import SIGNS, clean, wrap
from gpuwatch.render.units import board_name, span_of_time
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.drawing.area import area_lines
from gpuwatch.tui.drawing.charts import Chart, charts_of, fitted_scale, told, told_limit
from gpuwatch.tui.drawing.gpu_facts import Pair, columns_of, pairs_of, why_dashes
from gpuwatch.tui.drawing.marks import marked
from gpuwatch.tui.drawing.window import Window, means_in, window_of
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View
from gpuwatch_agent.model.gpu import Gpu

_SPANS_S = (120, 300, 600, 1200, 3600)
_WORD, _FACTS_WIDTH = 20, 48
# A chart's title tells the newest value, unless that is older.
_STILL_NOW_S = 3.0
_LEAST_HINT_WIDTH = 60
# Below this a problem is told in one line, which the values have more need of.
_LEAST_HEIGHT_FOR_SENTENCES = 18
_LEAST_CHART_WIDTH, _LEAST_CHART_HEIGHT = 34, 4


class GpuView(View):
    """Facts on the left or on top, charts in the rest, findings on the time axis."""

    name_of: ClassVar[str] = "gpu"
    title: ClassVar[str] = "GPU"
    short: ClassVar[str] = "GPU"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "neighbour(-1)", "GPU before", id="gpu.before"),
        Binding("down", "neighbour(1)", "next GPU", id="gpu.next"),
        Binding("less_than_sign", "span(-1)", "shorter time", id="gpu.shorter"),
        Binding("greater_than_sign", "span(1)", "longer time", id="gpu.longer"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._span: int | None = None
        """Which of the spans is shown; the one from the settings until somebody chose."""

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """The chosen GPU, or the first."""
        gpus = moment.frame.gpus
        if not gpus:
            return Drawing(lines=[[], [Span("  This node has no GPU to show.", "dim")]])
        gpu = moment.gpu(self.dashboard.chosen_gpu) or _worst_off(moment) or gpus[0]
        self.dashboard.chosen_gpu = gpu.uuid
        drawing = Drawing(lines=_head(gpu, moment, width, tall=height >= _LEAST_HEIGHT_FOR_SENTENCES))
        room = height - len(drawing.lines)
        if width >= 110:
            self._side_by_side(drawing, gpu, moment, (width, room))
        else:
            self._stacked(drawing, gpu, moment, (width, room))
        return drawing

    def _side_by_side(self, drawing: Drawing, gpu: Gpu, moment: Moment, size: tuple[int, int]) -> None:
        width, room = size
        top = len(drawing.lines)
        facts, tips = _facts_column(gpu, room, _FACTS_WIDTH)
        charts = self._charts(gpu, moment, width - _FACTS_WIDTH - 2, room)
        drawing.hits += [Hit(top + y, 0, _FACTS_WIDTH, "", tip) for y, tip in tips]
        drawing.hits += [hit._replace(y=hit.y + top, x=hit.x + _FACTS_WIDTH + 2) for hit in charts.hits]
        for y in range(room):
            left = facts[y] if y < len(facts) else []
            right = charts.lines[y] if y < len(charts.lines) else []
            drawing.lines.append([*left, Span(" " * (_FACTS_WIDTH + 2 - line_cells(left))), *right])

    def _stacked(self, drawing: Drawing, gpu: Gpu, moment: Moment, size: tuple[int, int]) -> None:
        width, room = size
        columns = max(1, width // 39)
        pairs = pairs_of(gpu)
        rows = min(-(-len(pairs) // columns), max(room // 2, 4))
        drawing.lines += _facts_grid(gpu, rows, columns, width)
        left = room - rows
        if left >= _LEAST_CHART_HEIGHT + 1:
            top = len(drawing.lines)
            charts = self._charts(gpu, moment, width, left)
            drawing.lines += charts.lines
            drawing.hits += [hit._replace(y=hit.y + top) for hit in charts.hits]

    def _charts(self, gpu: Gpu, moment: Moment, width: int, height: int) -> Drawing:
        """As many charts as there is room for, and below them the time axis."""
        across = max(1, min(width // _LEAST_CHART_WIDTH, 3))
        charts = charts_of(gpu)
        down = max(1, min((height - 1) // _LEAST_CHART_HEIGHT, -(-len(charts) // across)))
        cells = (width - 2 * (across - 1)) // across
        each = (height - 1) // down
        window = window_of(moment, _SPANS_S[self._span_shown()], cells)
        drawing = Drawing(lines=[])
        for first in range(0, min(len(charts), across * down), across):
            beside = [_one_chart(gpu, chart, moment, window, each) for chart in charts[first : first + across]]
            top = len(drawing.lines)
            for y in range(each):
                drawing.lines.append(_joined([panel[y] if y < len(panel) else [] for panel in beside], cells))
            for position in range(len(beside)):
                drawing.hits += _clickable(window, position * (cells + 2), top + 1, each - 1)
        axis = _axis(gpu, moment, window)
        drawing.lines.append(_joined([axis] * min(across, len(charts)), cells))
        return drawing

    def action_span(self, direction: int) -> None:
        """Show a longer or shorter time."""
        self._span = min(max(self._span_shown() + direction, 0), len(_SPANS_S) - 1)
        self.redraw()

    def _span_shown(self) -> int:
        if self._span is not None:
            return self._span
        wanted = self.dashboard.settings.history_s
        return min(range(len(_SPANS_S)), key=lambda place: abs(_SPANS_S[place] - wanted))

    def action_neighbour(self, direction: int) -> None:
        """The next GPU, or the one before."""
        if self.moment is None or not self.moment.frame.gpus:
            return
        uuids = [gpu.uuid for gpu in self.moment.frame.gpus]
        here = uuids.index(self.dashboard.chosen_gpu) if self.dashboard.chosen_gpu in uuids else 0
        self.dashboard.chosen_gpu = uuids[(here + direction) % len(uuids)]
        self.redraw()


def _worst_off(moment: Moment) -> Gpu | None:
    """Who comes here without having chosen a GPU wants to see the one that the headline speaks of."""
    for severity in ("critical", "warning"):
        for finding in moment.frame.findings:
            if finding.severity == severity and finding.gpus:
                return next((gpu for gpu in moment.frame.gpus if gpu.index == finding.gpus[0]), None)
    return None


def _head(gpu: Gpu, moment: Moment, width: int, *, tall: bool) -> list[Line]:
    """Which GPU, how it is, and what is wrong with it in words."""
    facts, mark = next((facts, mark) for other, facts, mark in marked(moment.frame) if other.uuid == gpu.uuid)
    alarmed = RANK.get(mark, 0) >= RANK["stale"]
    sign = Span(SIGNS[mark if alarmed else "ok"], mark if alarmed else "ok")
    line: Line = [Span(" "), sign, Span(f" GPU {gpu.index}", "title")]
    if gpu.name:
        line.append(Span(f"  {board_name(clean(gpu.name))}"))
    if gpu.state != "ok":
        line.append(Span(f"  {gpu.state}", gpu.state))
    if gpu.age_s is not None and gpu.state != "ok":
        line.append(Span(f", last heard {span_of_time(gpu.age_s)} ago", "dim"))
    for fact in facts[:4]:
        line.append(Span(f" · {fact.words}", fact.severity if fact.severity not in {"", "info"} else "dim"))
    others = f"  ↑ ↓ {len(moment.frame.gpus)} GPUs   < > time " if len(moment.frame.gpus) > 1 else "  < > time "
    others = others if width >= _LEAST_HINT_WIDTH else ""
    line = fit_line(line, max(width - len(others), 20))
    lines = [[*line, Span(" " * max(width - line_cells(line) - len(others), 0)), Span(others, "dim")]]
    if gpu.problem is not None:
        style = f"{gpu.state} text" if gpu.state != "ok" else "dim"
        texts = wrap(clean(gpu.problem), max(width - 4, 20)) if tall else [clean(gpu.problem)]
        lines += [fit_line([Span(f"   {text}", style)], width) for text in texts]
    users = list(gpu.processes or ())
    if users:
        told_of = ", ".join(
            f"{clean(one.name or '?')} ({one.pid}{', ' + clean(one.user) if one.user else ''})" for one in users[:4]
        )
        more = f" and {len(users) - 4} more" if len(users) > 4 else ""
        lines.append(fit_line([Span("   used by ", "dim"), Span(told_of), Span(more, "dim")], width))
    return lines


def _facts_column(gpu: Gpu, height: int, width: int) -> tuple[list[Line], list[tuple[int, str]]]:
    lines: list[Line] = []
    tips: list[tuple[int, str]] = []
    for pair in pairs_of(gpu):
        if pair.tip:
            tips.append((len(lines), pair.tip))
        lines += _fact_lines(pair, width)
    why = why_dashes(pairs_of(gpu), width)
    if len(lines) + 1 + len(why) <= height:
        lines += [[], *why] if why else []
    return lines[:height], [tip for tip in tips if tip[0] < height]


def _fact_lines(pair: Pair, width: int) -> list[Line]:
    """Word and value; a long value begins right behind its word, or goes on below itself."""
    if line_cells(pair.value) <= width - _WORD - 1:
        return [[Span(f" {pair.word:<{_WORD}}", "dim"), *pair.value]]
    if len(pair.word) + 2 + line_cells(pair.value) <= width:
        return [[Span(f" {pair.word} ", "dim"), *pair.value]]
    style = pair.value[0].style
    texts = wrap("".join(span.text for span in pair.value), width - _WORD - 1)
    return [
        [Span(f" {pair.word if position == 0 else '':<{_WORD}}", "dim"), Span(text, style)]
        for position, text in enumerate(texts)
    ]


def _facts_grid(gpu: Gpu, rows: int, columns: int, width: int) -> list[Line]:
    beside = columns_of(pairs_of(gpu), rows)[:columns]
    each = width // columns
    lines: list[Line] = []
    for y in range(rows):
        line: Line = []
        for column in beside:
            if y < len(column):
                cell = fit_line([Span(f" {column[y].word:<{_WORD - 1}}", "dim"), *column[y].value], each - 1)
                line += [*cell, Span(" " * (each - line_cells(cell)))]
        lines.append(line)
    return lines


def _one_chart(gpu: Gpu, chart: Chart, moment: Moment, window: Window, height: int) -> list[Line]:
    means = means_in(moment, gpu.uuid, chart.metric, window)
    mark = window.column(moment.frame.taken_at) if moment.paused else None
    seen = [value for value in moment.recent(gpu.uuid, chart.metric, _STILL_NOW_S) if not isnan(value)]
    here = seen[-1] if seen else None
    now = "–" if here is None else told(here, chart)
    limit = "" if chart.limit is None else f" / {told_limit(chart.limit, chart)}"
    title: Line = [Span(f" {chart.title} ", "dim"), Span(now, "bold"), Span(f"{limit} {chart.unit}", "dim")]
    area = area_lines(means, fitted_scale(chart, means), height - 1, "chart", chart.limit)
    return [fit_line(title, window.cells), *(_with_mark(line, mark) for line in area)]


def _with_mark(line: Line, column: int | None) -> Line:
    """The moment shown as an upright through the chart."""
    if column is None:
        return line
    text = "".join(span.text for span in line)
    styles = [span.style for span in line for _ in span.text]
    under = text[column] if column < len(text) else " "
    before: Line = _runs(text[:column], styles[:column])
    return [
        *before,
        Span("│" if under in " ┈" else under, "mark"),
        *_runs(text[column + 1 :], styles[column + 1 :]),
    ]


def _runs(text: str, styles: Sequence[str]) -> Line:
    line: Line = []
    for letter, style in zip(text, styles, strict=True):
        if line and line[-1].style == style:
            line[-1] = Span(line[-1].text + letter, style)
        else:
            line.append(Span(letter, style))
    return line


def _clickable(window: Window, x: int, y: int, height: int) -> list[Hit]:
    """A click on a chart goes to that time; four cells are one target, which keeps their number small."""
    hits: list[Hit] = []
    for column in range(0, window.cells, 4):
        action = f"app.go_to({window.time(min(column + 2, window.cells - 1))!r})"
        hits += [Hit(y + row, x + column, min(4, window.cells - column), action) for row in range(height)]
    return hits


def _axis(gpu: Gpu, moment: Moment, window: Window) -> Line:
    """When it was, with the marks of what was found on this GPU."""
    cells: list[Span] = [Span("─", "rule")] * window.cells
    label = time.strftime("%H:%M:%S", time.localtime(window.start))
    ending = time.strftime("%H:%M:%S", time.localtime(window.end))
    for start, text in ((0, label), (window.cells - len(ending), ending)):
        if window.cells >= 2 * len(label) + 4:
            for offset, letter in enumerate(text):
                cells[start + offset] = Span(letter, "dim")
    for event in moment.events:
        column = window.column(event.at) if event.event == "raised" and gpu.index in event.finding.gpus else None
        if column is not None:
            cells[column] = Span(SIGNS[event.finding.severity], event.finding.severity)
    return cells


def _joined(parts: Sequence[Line], cells: int) -> Line:
    line: Line = []
    for position, part in enumerate(parts):
        fitted = fit_line(part, cells)
        line += [Span("  ")] if position else []
        line += [*fitted, Span(" " * (cells - line_cells(fitted)))]
    return line
