"""How the GPUs are wired, and how the links fare."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.columns import draw_row, draw_title
from gpuwatch.render.topo_table import matrix_columns
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.drawing.fabric_links import LEAST_WIDTH, draw_links
from gpuwatch.tui.drawing.fabric_map import draw_map
from gpuwatch.tui.drawing.fabric_wiring import summary_line, wiring_of
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import LEGEND, Topology

_ROOMY_HEIGHT = 28
_LEAST_BELOW = 4
_GAP = 3


class FabricView(RowsView):
    """The machine drawn, the matrix, and the chosen GPU's links; what has no room below takes its turn with `l`."""

    name_of: ClassVar[str] = "fabric"
    title: ClassVar[str] = "Fabric"
    short: ClassVar[str] = "Fab"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "turn", "links one by one, or the matrix", id="fabric.turn"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._turned = 0

    def forget(self) -> None:
        """Another node has other GPUs."""
        super().forget()
        self.chosen_key = None

    def action_turn(self) -> None:
        """Show the next of what has no room beside the others."""
        self._turned += 1
        self.redraw()

    def action_open(self) -> None:
        """Go to the chosen GPU's own view."""
        if self.chosen_key is not None:
            self.run_worker(self.dashboard.action_open_gpu(self.chosen_key))

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """The sentence, the drawing, and below it as much as there is room for."""
        frame, topology = moment.frame, moment.topology
        wiring = wiring_of(frame, topology)
        if self.chosen_key is None:
            self.chosen_key = self.dashboard.chosen_gpu
        self.take_rows([gpu.uuid for gpu in frame.gpus])
        lines: list[Line] = [summary_line(frame, wiring, width)]
        chosen = moment.gpu(self.chosen_key)
        if chosen is None:
            return Drawing(lines=lines)
        drawn = draw_map(frame, topology, wiring, width, chosen=chosen.uuid, roomy=height >= _ROOMY_HEIGHT)
        below = height - 1 - len(drawn.lines) - 1
        if below < _LEAST_BELOW:
            lines = [_with_hint(lines[0], ("links", "matrix", "drawing")[self._turned % 3], width)]
            return _stack([Drawing(lines=lines), self._in_turn(drawn, moment, chosen, width, height - 1)])
        right = _draw_matrix(topology, chosen, width, len(drawn.lines))
        if len(frame.gpus) > 1 and _width_of(drawn) + _GAP + _width_of(right) <= width:
            links = Drawing(lines=draw_links(chosen, frame, topology, width, below))
            return _stack([Drawing(lines=lines), _beside(drawn, right), Drawing(lines=[[]]), links])
        gap: list[Line] = [[]] if below > len(frame.gpus) else []
        under, hidden = self._below(moment, chosen, width, below + 1 - len(gap))
        if hidden:
            lines = [_with_hint(lines[0], hidden, width)]
        return _stack([Drawing(lines=lines), drawn, Drawing(lines=gap), under])

    def _in_turn(self, drawn: Drawing, moment: Moment, chosen: Gpu, width: int, height: int) -> Drawing:
        """Drawing, links or matrix, where only one of them has room."""
        turn = self._turned % 3
        if turn == 0:
            return Drawing(lines=drawn.lines[:height], hits=[hit for hit in drawn.hits if hit.y < height])
        if turn == 1:
            return Drawing(lines=draw_links(chosen, moment.frame, moment.topology, width, height))
        return _draw_matrix(moment.topology, chosen, width, height)

    def _below(self, moment: Moment, chosen: Gpu, width: int, height: int) -> tuple[Drawing, str]:
        """Matrix and links side by side, or one of them and the word for the other."""
        links_alone = Drawing(lines=draw_links(chosen, moment.frame, moment.topology, width, height))
        if len(moment.frame.gpus) < 2:
            return links_alone, ""
        matrix = _draw_matrix(moment.topology, chosen, width, height)
        room = width - _width_of(matrix) - _GAP
        if room < LEAST_WIDTH:
            return (links_alone, "matrix") if self._turned % 2 else (matrix, "links")
        return _beside(matrix, Drawing(lines=draw_links(chosen, moment.frame, moment.topology, room, height))), ""

    def as_data(self) -> object:
        """The wiring."""
        return self.moment.topology if self.moment is not None else None


def _with_hint(line: Line, hidden: str, width: int) -> Line:
    """Which key shows what is out of sight."""
    room = width - line_cells(line) - len(hidden) - 3
    return [*line, Span(" " * room), Span("l", "key"), Span(f" {hidden}", "dim")] if room > 1 else line


def _width_of(drawing: Drawing) -> int:
    return max((line_cells(line) for line in drawing.lines), default=0)


def _stack(parts: Sequence[Drawing]) -> Drawing:
    """One below the other."""
    lines: list[Line] = []
    hits: list[Hit] = []
    for part in parts:
        hits += [hit._replace(y=hit.y + len(lines)) for hit in part.hits]
        lines += part.lines
    return Drawing(lines=lines, hits=hits)


def _beside(left: Drawing, right: Drawing) -> Drawing:
    """One to the right of the other."""
    start = _width_of(left) + _GAP
    lines: list[Line] = []
    for y in range(max(len(left.lines), len(right.lines))):
        line = list(left.lines[y]) if y < len(left.lines) else []
        if y < len(right.lines):
            line += [Span(" " * (start - line_cells(line))), *right.lines[y]]
        lines.append(line)
    return Drawing(lines=lines, hits=[*left.hits, *(hit._replace(x=hit.x + start) for hit in right.hits)])


def _draw_matrix(topology: Topology | None, chosen: Gpu, width: int, height: int) -> Drawing:
    """The words of `nvidia-smi topo -m`, the chosen GPU's row lit, and below it what the words mean."""
    if topology is None or not topology.gpus:
        return Drawing(lines=[[Span(" The wiring has not been read yet.", "dim")]])
    columns = matrix_columns(topology)
    if sum(column.most + column.gap for column in columns) > width:
        columns = matrix_columns(topology, prefix="")
    at = next((place for place, gpu in enumerate(topology.gpus) if gpu.uuid == chosen.uuid), 0)
    names, cells = columns[0], columns[1:]
    fitting = max(1, (width - names.most - names.gap) // max(cell.most + cell.gap for cell in cells))
    left_out = max(min(at - fitting // 2, len(cells) - fitting), 0)
    layout = [(column, column.most) for column in (names, *cells[left_out : left_out + fitting])]
    lines: list[Line] = [draw_title(layout)]
    hits: list[Hit] = []
    places = range(len(topology.gpus))
    room = max(height - 1, 1)
    first = min(max(at - room // 2, 0), max(len(places) - room, 0))
    for place in places[first : first + room]:
        row = fit_line(draw_row(layout, place), width)
        if place == at:
            row = [Span(""), *(Span(span.text, f"{span.style}+cursor") for span in row)]
        hits.append(Hit(len(lines), 0, line_cells(row), f"choose({topology.gpus[place].uuid!r})"))
        lines.append(row)
    room = height - len(lines) - 1
    legend = _legend(topology, width)
    if room >= len(legend):
        lines += [[], *legend]
    return Drawing(lines=lines, hits=hits)


def _legend(topology: Topology, width: int) -> list[Line]:
    used = {"NV#" if word.startswith("NV") else word for row in topology.matrix for word in row if word}
    return [
        fit_line([Span(f" {word:<5}", "dim"), Span(meaning, "dim")], width)
        for word, meaning in LEGEND.items()
        if word in used and word != "X"
    ]
