"""Active measurements: what they would answer here, and what they found."""

from typing import ClassVar

from gpuwatch.render.ansi import Line, Span
from gpuwatch.tui.canvas import Drawing, Hit, with_cursor
from gpuwatch.tui.drawing.probe_lines import outcome_before, outcome_lines, outcome_row, question_lines
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.model.probe import ProbeOutcome


class ProbesView(RowsView):
    """What was measured on purpose, the newest first, the chosen one beside the time before."""

    name_of: ClassVar[str] = "probes"
    title: ClassVar[str] = "Probes"
    short: ClassVar[str] = "Prob"

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: dict[str, ProbeOutcome] = {}

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Outcomes with the chosen one told below, then what there is to ask."""
        outcomes = sorted(moment.frame.probes, key=lambda one: one.finished_at, reverse=True)
        self._outcomes = {outcome.id: outcome for outcome in outcomes}
        self.take_rows(list(self._outcomes))
        drawing = Drawing(lines=[])
        questions: list[Line] = [_head("what probes answer on this node", width)]
        questions += question_lines(moment.frame.gpus, width)
        if not outcomes:
            drawing.lines = [[], [Span("  No probe has run on this node.", "bold")]]
            told = (
                "  Probes take the GPUs' time, so nothing is measured by itself. To measure: gpuwatch probe allreduce"
            )
            drawing.lines += [[Span(told, "dim")], [], *questions]
            return drawing
        chosen = self._outcomes.get(self.chosen_key or "")
        detail = [] if chosen is None else outcome_lines(chosen, outcome_before(chosen, outcomes), width)
        self._list(drawing, moment, width, max(height - len(detail) - 3, 2))
        drawing.lines += [_head("the chosen one", width), *detail]
        if height - len(drawing.lines) > len(questions):
            drawing.lines += [[], *questions]
        return drawing

    def _list(self, drawing: Drawing, moment: Moment, width: int, height: int) -> None:
        drawing.lines.append(_head(f"measured ({len(self._outcomes)})", width))
        first, last = self.window(height)
        for key in list(self._outcomes)[first:last]:
            line = outcome_row(self._outcomes[key], moment.frame.taken_at, width)
            drawing.hits.append(Hit(len(drawing.lines), 0, width, f"choose({key!r})"))
            drawing.lines.append(with_cursor(line) if key == self.chosen_key else line)

    def as_data(self) -> object:
        """The chosen outcome, or none."""
        return self._outcomes.get(self.chosen_key or "")


def _head(words: str, width: int) -> Line:
    return [Span("─ ", "rule"), Span(f"{words} ", "dim"), Span("─" * max(width - len(words) - 3, 0), "rule")]
