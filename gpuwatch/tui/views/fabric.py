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
        below = height - len(lines) - len(drawn.lines) - 1
        if below < _LEAST_BELOW:
            drawn = self._in_turn(drawn, moment, chosen, width, height - 1)
            below = 0
        hits = [hit._replace(y=hit.y + len(lines)) for hit in drawn.hits]
        lines += drawn.lines
        if below:
            lines.append([])
            under = self._below(moment, chosen, width, below)
            hits += [hit._replace(y=hit.y + len(lines)) for hit in under.hits]
            lines += under.lines
        return Drawing(lines=lines, hits=hits)

    def _in_turn(self, drawn: Drawing, moment: Moment, chosen: Gpu, width: int, height: int) -> Drawing:
        """Drawing, links or matrix, where only one of them has room."""
        turn = self._turned % 3
        if turn == 0:
            return Drawing(lines=drawn.lines[:height], hits=drawn.hits)
        if turn == 1:
            return Drawing(lines=draw_links(chosen, moment.frame, moment.topology, width, height))
        return _draw_matrix(moment.topology, chosen, width, height)

    def _below(self, moment: Moment, chosen: Gpu, width: int, height: int) -> Drawing:
        """Matrix and links side by side, or one of them."""
        matrix = _draw_matrix(moment.topology, chosen, width, height)
        used = max((line_cells(line) for line in matrix.lines), default=0)
        if len(moment.frame.gpus) < 2:
            return Drawing(lines=draw_links(chosen, moment.frame, moment.topology, width, height))
        if width - used - 3 < LEAST_WIDTH:
            if self._turned % 2 == 0:
                return matrix
            return Drawing(lines=draw_links(chosen, moment.frame, moment.topology, width, height))
        links = draw_links(chosen, moment.frame, moment.topology, width - used - 3, height)
        return Drawing(lines=_side_by_side(matrix.lines, links, used + 3), hits=matrix.hits)

    def as_data(self) -> object:
        """The wiring."""
        return self.moment.topology if self.moment is not None else None


def _side_by_side(left: Sequence[Line], right: Sequence[Line], start: int) -> list[Line]:
    lines: list[Line] = []
    for y in range(max(len(left), len(right))):
        line = list(left[y]) if y < len(left) else []
        if y < len(right):
            line += [Span(" " * (start - line_cells(line))), *right[y]]
        lines.append(line)
    return lines


def _draw_matrix(topology: Topology | None, chosen: Gpu, width: int, height: int) -> Drawing:
    """The words of `nvidia-smi topo -m`, the chosen GPU's row lit, and below it what the words mean."""
    if topology is None:
        return Drawing(lines=[[Span(" The wiring has not been read yet.", "dim")]])
    columns = matrix_columns(topology)
    if sum(column.most + column.gap for column in columns) > width:
        columns = matrix_columns(topology, prefix="")
    layout = [(column, column.most) for column in columns]
    lines: list[Line] = [draw_title(layout)]
    hits: list[Hit] = []
    places = range(len(topology.gpus))
    room = max(height - 1, 1)
    at = next((place for place in places if topology.gpus[place].uuid == chosen.uuid), 0)
    first = min(max(at - room // 2, 0), max(len(places) - room, 0))
    for place in places[first : first + room]:
        row = fit_line(draw_row(layout, place), width)
        if place == at:
            row = [Span(""), *(Span(span.text, f"{span.style}+cursor") for span in row)]
        hits.append(Hit(len(lines), 0, width, f"choose({topology.gpus[place].uuid!r})"))
        lines.append(row)
    left = height - len(lines) - 1
    legend = _legend(topology, width)
    if left >= len(legend):
        lines += [[], *legend]
    return Drawing(lines=lines, hits=hits)


def _legend(topology: Topology, width: int) -> list[Line]:
    used = {"NV#" if word.startswith("NV") else word for row in topology.matrix for word in row if word}
    return [
        fit_line([Span(f" {word:<5}", "dim"), Span(meaning, "dim")], width)
        for word, meaning in LEGEND.items()
        if word in used and word != "X"
    ]
