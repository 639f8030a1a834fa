"""Several nodes as cells: how each is by its sign and colour, what its GPUs do, and the worst that is known."""

import time
from collections.abc import Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.facts import RANK
from gpuwatch.render.header import boards_in_words
from gpuwatch.render.text import DASH, SIGNS, clean, cut
from gpuwatch.render.units import index_list, span_of_time, watts
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.fleet import Fleet, GlanceGpu, Node

_LEAST_WIDTH, _MOST_WIDTH = 24, 44
# In narrower cells what a node draws stands behind its name.
_POWER_BELOW = 34
_LEVELS = "▁▂▃▄▅▆▇"
_STYLES = {"": "dim", "ok": "ok", "unreachable": "lost"}
_WORDS = {
    "critical": "critical",
    "warning": "warning",
    "stale": "with a silent GPU",
    "lost": "with a lost GPU",
    "unreachable": "unreachable",
    "ok": "well",
    "": "not heard yet",
}
_ORDER = ("unreachable", "lost", "critical", "warning", "stale", "ok", "")


class Grid(Struct, frozen=True):
    """How cells are laid out: so many side by side, each so wide and so high, `gap` lines below each row."""

    columns: int
    width: int
    lines: int
    gap: int

    @property
    def pitch(self) -> int:
        """Lines from one row of cells to the next."""
        return self.lines + self.gap


def lay_out(count: int, width: int, height: int) -> Grid:
    """The roomiest form in which all are seen; else the tightest, to be scrolled."""
    most_columns = max(1, min(width // _LEAST_WIDTH, count))
    for lines, gap in ((3, 1), (3, 0), (2, 0), (1, 0)):
        fitting = max(1, (height + gap) // (lines + gap))  # rows
        columns = -(-count // fitting)
        # Cells as wide as their words need are read more easily than many narrow ones.
        columns = max(columns, min(most_columns, max(1, width // _MOST_WIDTH)))
        if columns <= most_columns or (lines, gap) == (1, 0):
            columns = min(columns, most_columns)
            return Grid(columns, min(width // columns, max(_MOST_WIDTH, width // columns)), lines, gap)
    raise AssertionError  # the last form always fits


def fleet_lines(fleet: Fleet, width: int) -> list[Line]:
    """How many nodes, how they are, and what they draw together: the header where no single node is looked at."""
    marks = [node.mark for node in fleet.nodes]
    power = sum(node.power_w or 0.0 for node in fleet.nodes)
    gpus = sum(len(node.glance.gpus) for node in fleet.nodes if node.glance is not None and node.reason is None)
    line: Line = [Span(" gpuwatch", "bold"), Span("  "), Span(f"{len(marks)} nodes", "title")]
    if gpus:
        line += [Span(" · ", "dim"), Span(f"{gpus} GPUs"), Span(" · ", "dim"), Span(watts(power))]
    if any(node.glance is not None and node.glance.simulated for node in fleet.nodes):
        line += [Span("  "), Span(" SIMULATED ", "badge")]
    counted: Line = []
    for mark in _ORDER:
        if mark in marks:
            sign = SIGNS.get("lost" if mark == "unreachable" else mark, SIGNS["info"])
            counted += [Span(" "), Span(sign, _style(mark)), Span(f" {marks.count(mark)} {_WORDS[mark]} ", _text(mark))]
    return [fit_line(line, width), fit_line(counted, width)]


def draw_cells(
    nodes: Sequence[Node], grid: Grid, *, first_row: int, rows: int, cursor: str | None, inside: str | None, now: float
) -> Drawing:
    """So many rows of cells from `first_row` on; `inside` is the node that is being looked at."""
    lines: list[Line] = []
    hits: list[Hit] = []
    for row in range(first_row, first_row + rows):
        here = nodes[row * grid.columns : (row + 1) * grid.columns]
        if not here:
            break
        cells = [_cell(node, grid, chosen=node.url == cursor, inside=node.url == inside, now=now) for node in here]
        lines += [[Span(""), *(span for cell in cells for span in cell[part])] for part in range(grid.lines)]
        hits += [
            Hit(
                len(lines) - grid.lines + part,
                column * grid.width,
                grid.width - 1,
                f"choose({node.url!r})",
                node.sentence,
            )
            for column, node in enumerate(here)
            for part in range(grid.lines)
        ]
        lines += [[]] * grid.gap
    return Drawing(lines=lines, hits=hits)


def node_sentence(node: Node, now: float) -> tuple[str, str]:
    """All that a cell had no room for, with its severity."""
    if node.reason is not None:
        ago = "" if node.heard_at is None else f" Last heard {span_of_time(now - node.heard_at)} ago."
        return "lost", node.sentence + ago
    if node.glance is None:
        return "info", f"{node.url} has not answered yet."
    if node.in_trouble and node.glance.trouble is not None:
        return "critical", f"{node.glance.trouble.message} {node.glance.trouble.action}"
    boards = boards_in_words([gpu.name for gpu in node.glance.gpus]) or "no GPUs"
    worst = node.worst_finding
    if worst is None:
        return "ok", f"{node.name} ({boards}): nothing was found."
    begun = time.strftime("%H:%M:%S", time.localtime(worst.since))
    more = len(node.glance.findings) - 1
    told = f" And {more} more." if more else ""
    return worst.severity, f"{node.name} ({boards}): {worst.summary} Since {begun}.{told}"


def _cell(node: Node, grid: Grid, *, chosen: bool, inside: bool, now: float) -> list[Line]:
    width = grid.width - 2  # one cell of margin on each side
    parts = [_title(node, width, alone=grid.lines == 1, inside=inside)]
    if grid.lines == 2:
        parts.append(_load(node, width) if node.mark == "ok" else _worst(node, width, now))
    elif grid.lines >= 3:
        parts += [_load(node, width), _worst(node, width, now)]
    cells: list[Line] = []
    for part in parts:
        fitted = fit_line(part, width)
        padded = [Span(" "), *fitted, Span(" " * (width - line_cells(fitted)))]
        cells.append([*([_under_cursor(span) for span in padded] if chosen else padded), Span(" ")])
    return cells


def _under_cursor(span: Span) -> Span:
    return Span(span.text, f"{span.style}+cursor")


def _style(mark: str) -> str:
    return _STYLES.get(mark, mark)


def _text(mark: str) -> str:
    return {"": "dim", "ok": "", "unreachable": "lost text"}.get(mark, f"{mark} text")


def _title(node: Node, width: int, *, alone: bool, inside: bool) -> Line:
    """Sign and name; where that is all there is room for, what the GPUs do, or why nobody knows, at its end."""
    mark = node.mark
    sign = SIGNS.get("lost" if mark == "unreachable" else mark, SIGNS["info"])
    badge = [Span("▸ ", "accent")] if inside else []
    left: Line = [Span(sign, _style(mark)), Span(" "), *badge]
    name = cut(clean(node.name), max(width - line_cells(left) - (9 if alone else 0), 4))
    left.append(Span(name, "title" if mark == "ok" else _style(mark)))
    if not alone:
        power = watts(node.power_w) if node.power_w is not None and width < _POWER_BELOW else ""
        return [*left, Span(" " * max(width - line_cells(left) - len(power), 1)), Span(power)]
    room = width - line_cells(left) - 2
    right = _strip(node)[: max(room, 0)]
    if not right or node.reason is not None:
        words, style = _worst_words(node, node.heard_at or 0.0)
        right = [Span(cut(words, room), style)]
    return [*left, Span(" " * max(width - line_cells(left) - line_cells(right), 1)), *right]


def _load(node: Node, width: int) -> Line:
    """One block a GPU, as high as it is busy, the mean of all, and what they draw."""
    if node.glance is None or node.reason is not None or not node.glance.gpus:
        return []
    mean = node.utilization_pct
    strip = _strip(node)
    number = f" {mean:3.0f} %" if mean is not None else f"   {DASH}"
    line: Line = [Span("  "), *strip, Span(number if len(strip) + len(number) + 2 <= width else number.rstrip(" %"))]
    if node.power_w is not None and width >= _POWER_BELOW:
        line.append(Span(f"{watts(node.power_w):>9}"))
    return line


def _strip(node: Node) -> Line:
    gpus = node.glance.gpus if node.glance is not None and node.reason is None else []
    return [_block(gpu, node) for gpu in gpus]


def _block(gpu: GlanceGpu, node: Node) -> Span:
    if gpu.state != "ok":
        return Span(SIGNS[gpu.state], gpu.state)
    if gpu.utilization_pct is None:
        return Span(DASH, "dim")
    level = _LEVELS[min(int(gpu.utilization_pct / 100 * len(_LEVELS)), len(_LEVELS) - 1)]
    concerned = [
        finding.severity
        for finding in (node.glance.findings if node.glance is not None else ())
        if gpu.index in finding.gpus and finding.severity != "info"
    ]
    worst = max(concerned, key=lambda severity: RANK[severity], default="")
    return Span(level, f"chart {worst}" if worst else "bar")


def _worst(node: Node, width: int, now: float) -> Line:
    """What is wrong, in as many words as there is room for; where nothing is, what the node consists of."""
    words, style = _worst_words(node, now)
    return [Span("  "), Span(cut(clean(words), width - 2), style)]


def _worst_words(node: Node, now: float) -> tuple[str, str]:
    if node.reason is not None:
        ago = "" if node.heard_at is None else f", heard {span_of_time(now - node.heard_at)} ago"
        return node.reason + ago, "lost text"
    if node.glance is None:
        return "asking …", "dim"
    if node.in_trouble and node.glance.trouble is not None:
        return node.glance.trouble.message, "critical text"
    finding = node.worst_finding
    if finding is None:
        return boards_in_words([gpu.name for gpu in node.glance.gpus]) or "no GPUs", "dim"
    where = f"GPU {index_list(finding.gpus)}: " if finding.gpus and "GPU" not in finding.summary else ""
    return where + finding.summary, "dim" if finding.severity == "info" else f"{finding.severity} text"
