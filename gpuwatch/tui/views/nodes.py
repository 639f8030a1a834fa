"""Several agents at a glance."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span, fit_line
from gpuwatch.render.header import sentence_lines
from gpuwatch.render.text import clean, wrap
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.drawing.node_cells import Grid, draw_cells, lay_out, node_sentence
from gpuwatch.tui.feeds.remote import RemoteFeed
from gpuwatch.tui.fleet import Fleet, Node
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class NodesView(View):
    """Each agent a cell, coloured by the worst that is known of it; Enter goes in."""

    name_of: ClassVar[str] = "nodes"
    title: ClassVar[str] = "Nodes"
    short: ClassVar[str] = "Node"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1, 0)", "the node to the left", id="nodes.left", show=False),
        Binding("right", "move(1, 0)", "the node to the right", id="nodes.right", show=False),
        Binding("up", "move(0, -1)", "the node above", id="nodes.up", show=False),
        Binding("down", "move(0, 1)", "the node below", id="nodes.down", show=False),
        Binding("home", "edge(False)", "the first node", id="nodes.first", show=False),
        Binding("end", "edge(True)", "the last node", id="nodes.last", show=False),
        Binding("n", "next_bad", "the next node that is not well", id="nodes.next_bad"),
        Binding("enter", "open", "go into the node", id="nodes.open"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.chosen_url: str | None = None
        self.inside_url: str | None = None
        self._grid = Grid(1, 24, 1, 0)
        self._first_row = 0

    @property
    def fleet(self) -> Fleet | None:
        """The agents to choose from."""
        return self.dashboard.fleet

    def forget(self) -> None:
        """The cells stay what they are whichever node is followed."""
        self.moment = None

    def draw(self, width: int, height: int) -> Drawing:
        """The cells, and the words about the chosen one; with a single node how to have several."""
        fleet = self.fleet
        if fleet is None:
            return super().draw(width, height)
        now = self.dashboard.clock()
        detail = 3 if height >= 24 else 2 if height >= 10 else 1
        room = max(height - detail - 1, 1)
        self._grid = grid = lay_out(len(fleet.nodes), width, room)
        rows = max(1, (room + grid.gap) // grid.pitch)
        chosen = self._chosen(fleet)
        place = fleet.nodes.index(chosen)
        self._show_row(place // grid.columns, rows, -(-len(fleet.nodes) // grid.columns))
        drawing = draw_cells(
            fleet.nodes,
            grid,
            first_row=self._first_row,
            rows=rows,
            cursor=chosen.url,
            inside=self.inside_url,
            now=now,
        )
        lines = drawing.lines[:room]
        lines += [[]] * (room - len(lines))
        lines.append(self._rule(width, rows, len(fleet.nodes)))
        mark, words = node_sentence(chosen, now)
        lines += sentence_lines(mark, words, "", width)[:detail]
        return Drawing(lines=lines, hits=drawing.hits)

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """One node only: what this screen is for."""
        node = clean(moment.frame.node) or "one node"
        told: list[tuple[str, str]] = [
            (f"This dashboard shows {node}. Started with several agents, here is each of them, and Enter goes in:", ""),
            ("", ""),
            ("  gpuwatch --connect node07 --connect node08", "accent"),
            ("  gpuwatch --hosts FILE", "accent"),
            ("", ""),
            ("FILE names one agent a line, as node07 or http://node07:9489; what stands behind # is a remark.", "dim"),
        ]
        lines: list[Line] = [[]]
        for words, style in told:
            if words.startswith("  ") or not words:
                lines.append(fit_line([Span(f"  {words}", style)], width))
            else:
                lines += [[Span("  "), Span(line, style)] for line in wrap(words, max(width - 4, 20))]
        return Drawing(lines=lines[:height])

    def as_data(self) -> object:
        """What is known of every node."""
        return self.fleet.nodes if self.fleet is not None else super().as_data()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """With a single node there are no cells to move in: the keys keep the meaning they have elsewhere."""
        mine = action in {"move", "edge", "next_bad", "open"}
        return super().check_action(action, parameters) if not mine else self.fleet is not None

    def _chosen(self, fleet: Fleet) -> Node:
        return next((node for node in fleet.nodes if node.url == self.chosen_url), fleet.nodes[0])

    def _show_row(self, row: int, rows: int, all_rows: int) -> None:
        first = min(self._first_row, max(all_rows - rows, 0), row)
        self._first_row = max(first, row - rows + 1)

    def _rule(self, width: int, rows: int, count: int) -> Line:
        """Between cells and words; says where cells are out of sight."""
        shown = rows * self._grid.columns
        first = self._first_row * self._grid.columns
        words = f" {first + 1}-{min(first + shown, count)} of {count} " if shown < count else ""
        keys = " enter in   n next that is not well "
        keys = keys if len(keys) + len(words) + 4 <= width else ""
        return [
            Span("─" * 2, "rule"),
            Span(words, "dim"),
            Span("─" * max(width - 4 - len(words) - len(keys), 0), "rule"),
            Span(keys, "dim"),
            Span("─" * 2, "rule"),
        ]

    def action_move(self, columns: int, rows: int) -> None:
        """Move the cursor by cells."""
        if self.fleet is None:
            return
        nodes = self.fleet.nodes
        wanted = nodes.index(self._chosen(self.fleet)) + columns + rows * self._grid.columns
        if 0 <= wanted < len(nodes):
            self._choose(nodes[wanted].url)

    def action_edge(self, last: bool) -> None:
        """To the first or the last."""
        if self.fleet is not None:
            self._choose(self.fleet.nodes[-1 if last else 0].url)

    def action_next_bad(self) -> None:
        """To the next that is not well, and round."""
        if self.fleet is None:
            return
        nodes = self.fleet.nodes
        here = nodes.index(self._chosen(self.fleet))
        for node in (*nodes[here + 1 :], *nodes[: here + 1]):
            if node.mark not in {"", "ok"}:
                self._choose(node.url)
                return

    def action_choose(self, url: str) -> None:
        """A click: the first chooses, the second goes in."""
        if self.chosen_url == url:
            self.run_worker(self.action_open())
        else:
            self._choose(url)

    async def action_open(self) -> None:
        """Go into the chosen node."""
        fleet = self.fleet
        if fleet is None:
            return
        url = self._chosen(fleet).url
        if url != self.inside_url:
            self.inside_url = url
            self.dashboard.follow(RemoteFeed(fleet.client(url)))
        await self.dashboard.action_show_view("overview")

    def _choose(self, url: str) -> None:
        self.chosen_url = url
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(0, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(0, -1)
