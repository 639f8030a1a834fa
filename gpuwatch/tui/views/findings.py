"""What is wrong and what was: the sentence, its evidence, what to do, and the runbook."""

import time
from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct
from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import SIGNS, clean, wrap
from gpuwatch.render.units import index_list, span_of_time
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.drawing.markdown import markdown_lines
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.runbooks import runbook

_ORDER = {"critical": 0, "warning": 1, "info": 2}
_LEAST_SIDE_BY_SIDE = 100
_UNITS = {"c": " °C", "pct": " %", "w": " W", "mhz": " MHz", "s": " s", "h": " h"}


class Shown(Struct, frozen=True):
    """A finding in the list, open or past."""

    finding: Finding
    cleared_at: float | None = None

    @property
    def row_key(self) -> str:
        return f"{self.finding.kind}/{self.finding.key}/{self.finding.since:.0f}"


class FindingsView(RowsView):
    """Left the list, open ones first; right the chosen one with all that is known of it."""

    name_of: ClassVar[str] = "findings"
    title: ClassVar[str] = "Findings"
    short: ClassVar[str] = "Find"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "scroll(8)", "read on", id="findings.read_on"),
        Binding("b", "scroll(-8)", "read back", id="findings.read_back"),
        Binding("g", "to_its_gpu", "show its GPU", id="findings.gpu"),
        Binding("j", "to_its_time", "go to when it began", id="findings.time"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._scrolled = 0
        self._shown: dict[str, Shown] = {}
        self._told_of: str | None = None

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """List and detail beside each other, or below each other where it is narrow."""
        listed = findings_at(moment)
        self._shown = {shown.row_key: shown for shown in listed}
        self.take_rows(list(self._shown))
        if not listed:
            return Drawing(lines=_nothing_found(moment, width))
        if self._told_of != self.chosen_key:
            self._told_of, self._scrolled = self.chosen_key, 0
        if width >= _LEAST_SIDE_BY_SIDE:
            left_width = min(max(width // 3, 38), 64)
            left = self._list(listed, moment, left_width, height)
            right = self._detail(moment, width - left_width - 3, height)
            lines = [
                _beside(left.lines[y] if y < len(left.lines) else [], right[y] if y < len(right) else [], left_width)
                for y in range(height)
            ]
            return Drawing(lines=lines, hits=left.hits)
        rows = min(len(listed) + 1, max(height // 3, 3))
        drawing = self._list(listed, moment, width, rows)
        drawing.lines = [*drawing.lines[:rows], [Span("─" * width, "rule")]]
        drawing.lines += self._detail(moment, width, height - len(drawing.lines))
        return drawing

    def _list(self, listed: Sequence[Shown], moment: Moment, width: int, height: int) -> Drawing:
        now = [shown for shown in listed if shown.cleared_at is None]
        title = f" {len(now)} now, {len(listed) - len(now)} past"
        drawing = Drawing(lines=[[Span(title, "dim")]])
        first, last = self.window(height - 1)
        for shown in listed[first:last]:
            drawing.hits.append(Hit(len(drawing.lines), 0, width, f"choose({shown.row_key!r})"))
            line = _row(shown, moment, width)
            chosen = shown.row_key == self.chosen_key
            drawing.lines.append([Span(text, f"{style}+row") for text, style in line] if chosen else line)
        return drawing

    def _detail(self, moment: Moment, width: int, height: int) -> list[Line]:
        shown = self._shown.get(self.chosen_key or "")
        if shown is None:
            return []
        lines = detail_lines(shown, moment, width)
        self._scrolled = min(self._scrolled, max(len(lines) - height, 0))
        seen = lines[self._scrolled : self._scrolled + height]
        if len(lines) > self._scrolled + height and seen:
            seen[-1] = [Span(" … space reads on", "dim")]
        return seen

    def action_scroll(self, lines: int) -> None:
        """Read on, or back."""
        self._scrolled = max(self._scrolled + lines, 0)
        self.redraw()

    def action_to_its_gpu(self) -> None:
        """Everything about the GPU it names."""
        shown = self._shown.get(self.chosen_key or "")
        if shown is None or self.moment is None or not shown.finding.gpus:
            return
        gpu = next((gpu for gpu in self.moment.frame.gpus if gpu.index == shown.finding.gpus[0]), None)
        if gpu is not None:
            self.call_later(self.dashboard.action_open_gpu, gpu.uuid)

    def action_to_its_time(self) -> None:
        """All views at the moment when it began."""
        shown = self._shown.get(self.chosen_key or "")
        if shown is not None:
            self.dashboard.action_go_to(shown.finding.since)

    def action_open(self) -> None:
        """Enter leads to its GPU."""
        self.action_to_its_gpu()

    def as_text(self) -> str:
        """The chosen finding as the text of a ticket."""
        shown = self._shown.get(self.chosen_key or "")
        if shown is None or self.moment is None:
            return super().as_text()
        head = f"{shown.finding.kind} on {self.moment.frame.node}, {shown.finding.severity}"
        body = detail_lines(shown, self.moment, 100, with_runbook=False)
        return head + "\n" + "\n".join("".join(span.text for span in line).rstrip() for line in body) + "\n"

    def as_data(self) -> object:
        """The chosen finding."""
        shown = self._shown.get(self.chosen_key or "")
        return shown.finding if shown is not None else None


def findings_at(moment: Moment) -> list[Shown]:
    """Open ones of the moment shown, the worst first, then those that were over by then, the newest first."""
    now = [
        Shown(finding) for finding in sorted(moment.frame.findings, key=lambda one: (_ORDER[one.severity], one.since))
    ]
    at = moment.frame.taken_at
    past = [
        Shown(event.finding, event.at)
        for event in reversed(moment.events)
        if event.event == "cleared" and event.at <= at
    ]
    return [*now, *past]


def _row(shown: Shown, moment: Moment, width: int) -> Line:
    """Sign, kind, GPUs, and at the right edge for how long, in exactly that width."""
    finding = shown.finding
    over = shown.cleared_at is not None
    gpus = f" GPU {index_list(finding.gpus)}" if finding.gpus else ""
    lasted = span_of_time((shown.cleared_at or moment.frame.taken_at) - finding.since)
    tail = f" {lasted} " if not over else f" {time.strftime('%H:%M', time.localtime(finding.since))}, {lasted} "
    style = "dim" if over else ""
    line: Line = [
        Span(" "),
        Span(SIGNS[finding.severity], style or finding.severity),
        Span(f" {finding.kind.replace('_', ' ')}", style or "bold"),
        Span(gpus, style),
    ]
    line = fit_line(line, max(width - len(tail), 10))
    return [*line, Span(" " * max(width - line_cells(line) - len(tail), 0)), Span(tail, "dim")]


def detail_lines(shown: Shown, moment: Moment, width: int, *, with_runbook: bool = True) -> list[Line]:
    """All that is known of one finding."""
    finding = shown.finding
    style = f"{finding.severity} text"
    lines: list[Line] = []
    for position, text in enumerate(wrap(clean(finding.summary), max(width - 3, 20))):
        lines.append(
            [Span(f" {SIGNS[finding.severity]} " if position == 0 else "   ", finding.severity), Span(text, style)]
        )
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(finding.since))
    ended = "now" if shown.cleared_at is None else time.strftime("%H:%M:%S", time.localtime(shown.cleared_at))
    lasted = span_of_time((shown.cleared_at or moment.frame.taken_at) - finding.since)
    lines.append([Span(f"   from {begun} to {ended}, {lasted}", "dim")])
    lines.append([])
    if finding.cause:
        lines += _paragraph("why", finding.cause, width)
    lines += _paragraph("do", finding.action, width)
    numbers = [(name, value) for name, value in finding.evidence.items() if value is not None]
    if numbers:
        lines.append([])
        lines += [_evidence(name, value, position == 0) for position, (name, value) in enumerate(numbers)]
    page = runbook(finding.kind) if with_runbook else None
    if page is not None:
        lines += [
            [],
            [Span("─ ", "rule"), Span("runbook ", "dim"), Span("─" * max(width - 10, 0), "rule")],
            *markdown_lines(page, width - 1),
        ]
    return lines


def _paragraph(word: str, text: str, width: int) -> list[Line]:
    return [
        [Span(f"   {word if position == 0 else '':<5}", "dim"), Span(part)]
        for position, part in enumerate(wrap(clean(text), max(width - 9, 20)))
    ]


def _evidence(name: str, value: float | str, first: bool) -> Line:
    """A number with its unit, which its name ends with."""
    stem, _, ending = name.rpartition("_")
    unit = _UNITS.get(ending, "") if stem else ""
    word = clean(stem if unit else name).replace("_", " ")
    shown = (
        value if isinstance(value, str) else f"{value:,.4g}" if value % 1 and abs(value) < 10000 else f"{value:,.0f}"
    )
    return [
        Span(f"   {'seen' if first else '':<5}", "dim"),
        Span(f"{word:<28}", "dim"),
        Span(clean(shown)),
        Span(unit, "dim"),
    ]


def _beside(left: Line, right: Line, left_width: int) -> Line:
    return [*left, Span(" " * max(left_width - line_cells(left), 0)), Span(" │ ", "rule"), *right]


def _nothing_found(moment: Moment, width: int) -> list[Line]:
    told = "Nothing is wrong, and nothing was as far back as is kept here."
    if moment.frame.trouble is not None:
        told = "The driver can't be read, so nothing can be judged."
    return [[], *([Span(f"  {text}", "dim")] for text in wrap(told, max(width - 4, 20)))]
