"""The first view: every GPU at a glance, who works there, and the host."""

from collections.abc import Sequence
from typing import ClassVar

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.columns import Column, choose, draw_row, draw_title
from gpuwatch.render.gpu_columns import Row
from gpuwatch.render.header import host_line
from gpuwatch.render.process_table import process_lines
from gpuwatch.render.text import clean, wrap
from gpuwatch.tui.canvas import Drawing, Hit, with_cursor
from gpuwatch.tui.drawing.chrome import cost_in_footer
from gpuwatch.tui.drawing.gpu_rows import (
    Standing,
    dense_cells,
    group_title,
    grouped,
    overview_columns,
    rows_of,
    standings,
)
from gpuwatch.tui.drawing.room import charts_below
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.model.absence import SENTENCES

_LEAST_TABLE_WIDTH = 56


class Overview(RowsView):
    """GPUs in their groups, the host, processes below, and charts where there is still room."""

    name_of: ClassVar[str] = "overview"
    title: ClassVar[str] = "Overview"
    short: ClassVar[str] = "Over"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """A line a GPU as long as they fit; closer together where they do not."""
        rows = rows_of(moment)
        groups, rows = grouped(rows, moment)
        stands = standings(groups, moment)
        self.take_rows([row.gpu.uuid for row in rows if row.instance is None])
        if not rows:
            return Drawing(lines=_no_gpus(moment, width))
        if len(rows) + 1 > height or width < _LEAST_TABLE_WIDTH:
            return Drawing(lines=dense_cells(rows, width, height))
        titled = groups if len(rows) + 1 + len(groups) + 1 <= height and height >= 14 else []
        drawing = self._table(rows, titled, stands, moment, width)
        self._below(drawing, moment, width, height)
        return drawing

    def _table(
        self, rows: Sequence[Row], groups: Sequence[Group], stands: dict[str, Standing], moment: Moment, width: int
    ) -> Drawing:
        columns: Sequence[Column] = overview_columns(rows, moment, stands, width)
        layout = choose(columns, width)
        lines: list[Line] = [draw_title(layout)]
        hits: list[Hit] = []
        shown_group: str | None = None
        for position, row in enumerate(rows):
            group = next((group for group in groups if row.gpu.uuid in group.uuids), None)
            if groups and (group.id if group else "") != shown_group:
                shown_group = group.id if group else ""
                if group is not None:
                    lines.append(group_title(group, moment.frame.gpus, stands, width))
                    hits.append(Hit(len(lines) - 1, 0, width, f"app.open_group({group.id!r})"))
                else:
                    lines.append(_rule(_outside(rows[position:]), width))
            line = draw_row(layout, position)
            chosen = row.gpu.uuid == self.chosen_key and row.instance is None and self.has_focus
            hits.append(Hit(len(lines), 0, width, f"choose({row.gpu.uuid!r})", _why_absent(row)))
            lines.append(with_cursor(line) if chosen else line)
        return Drawing(lines=lines, hits=hits)

    def _below(self, drawing: Drawing, moment: Moment, width: int, height: int) -> None:
        """What room is left: the host, then processes, then charts."""
        lines = drawing.lines
        host = host_line(moment.frame, width, own_cost=not cost_in_footer(width))
        if host is not None and len(lines) < height:
            lines.append(host)
        room = height - len(lines)
        wanted = process_lines(moment.frame, width, None) if room >= 3 else []
        if len(wanted) > room:
            wanted = process_lines(moment.frame, width, room - 3, "key 5")[:room]
        first = len(lines)
        lines += wanted
        drawing.hits += [Hit(y, 0, width, "app.show_view('processes')") for y in range(first, len(lines))]
        room = height - len(lines)
        if room >= 6:
            lines += charts_below(moment, width, room)

    def action_open(self) -> None:
        """Everything about the GPU under the cursor."""
        if self.chosen_key is not None:
            self.call_later(self.dashboard.action_open_gpu, self.chosen_key)

    def on_focus(self) -> None:
        """The cursor is seen."""
        self.redraw()

    def on_blur(self) -> None:
        """The cursor is not seen."""
        self.redraw()


def _outside(rows: Sequence[Row]) -> str:
    """A GPU that was lost before anybody looked may have been in a group."""
    unknown = all(row.gpu.state == "lost" or row.gpu.processes is None for row in rows)
    return "group not known" if unknown else "in no group"


def _rule(word: str, width: int) -> Line:
    return [Span("─", "rule"), Span(f" {word} ", "dim"), Span("─" * max(width - len(word) - 3, 0), "rule")]


def _no_gpus(moment: Moment, width: int) -> list[Line]:
    host = host_line(moment.frame, width, own_cost=not cost_in_footer(width))
    if moment.frame.trouble is not None:
        told = f"{moment.frame.trouble.message} {moment.frame.trouble.action}"
    else:
        told = "The driver lists no GPU on this node."
    texts = wrap(clean(told), max(width - 4, 20))
    return [[], *([Span(f"  {text}")] for text in texts), [], *([host] if host is not None else [])]


def _why_absent(row: Row) -> str:
    """The reasons of the row's dashes, for the pointer."""
    if row.gpu.problem is not None:
        return row.gpu.problem
    reasons: dict[str, list[str]] = {}
    for path, absence in row.gpu.absent.items():
        reasons.setdefault(SENTENCES[absence], []).append(path)
    return "\n".join(f"{reason}: {', '.join(paths[:6])}" for reason, paths in reasons.items())
