"""Columns that share a width: the important ones come first, what is left goes to those that can use it."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import DASH, bar, cells_of

ABSENT = Span(DASH, "dim")


class Column(Struct, kw_only=True):
    """One column; `draw(row, width)` gives a cell of at most `width` cells."""

    title: str
    draw: Callable[[int, int], Line]
    priority: int
    least: int
    most: int
    right: bool = False
    gap: int = 2


def text_column(
    title: str, cells: Sequence[Line], *, priority: int, right: bool = False, least: int | None = None, gap: int = 2
) -> Column:
    """A column of words or numbers; with `least` it may be cut down to that."""
    natural = max([cells_of(title), *(line_cells(cell) for cell in cells)])
    return Column(
        title=title,
        draw=lambda row, width: fit_line(cells[row], width),
        priority=priority,
        least=natural if least is None else min(natural, least),
        most=natural,
        right=right,
        gap=gap,
    )


def parts_column(title: str, cells: Sequence[Sequence[Span]], *, priority: int, most_least: int) -> Column:
    """A column of remarks: as many whole ones as there is room for, at the least the first of each row."""
    first = max((cells_of(parts[0].text) for parts in cells if parts), default=0)
    natural = max([cells_of(title), *(line_cells(_joined(parts)) for parts in cells)])
    least = max(cells_of(title), min(first, most_least))

    def draw(row: int, width: int) -> Line:
        for kept in range(len(cells[row]), 1, -1):
            line = _joined(cells[row][:kept])
            if line_cells(line) <= width:
                return line
        return fit_line(_joined(cells[row][:1]), width)

    return Column(title=title, draw=draw, priority=priority, least=least, most=natural)


def _joined(parts: Sequence[Span]) -> Line:
    return [span for position, part in enumerate(parts) for span in ([Span(" · ", "dim")] if position else []) + [part]]


def bar_column(shares: Sequence[float | None], styles: Sequence[str], *, priority: int, most: int) -> Column:
    """A column of bars next to the number they show."""

    def draw(row: int, width: int) -> Line:
        share = shares[row]
        if share is None:
            return []
        drawn = bar(share, width)
        filled = drawn.rstrip("░")
        return [Span(filled, styles[row]), Span(drawn[len(filled) :], "dim")]

    return Column(title="", draw=draw, priority=priority, least=6, most=most, gap=1)


def choose(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that fit, in their order, each with its width."""
    chosen: list[Column] = []
    for column in sorted(columns, key=lambda column: column.priority):
        if _needed([*chosen, column]) <= width:
            chosen.append(column)
    left = width - _needed(chosen)
    widths: dict[int, int] = {}
    for column in sorted(chosen, key=lambda column: column.priority):
        extra = min(left, column.most - column.least)
        widths[id(column)] = column.least + extra
        left -= extra
    return [(column, widths[id(column)]) for column in columns if id(column) in widths]


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.least + column.gap for column in columns)


def draw_title(layout: Sequence[tuple[Column, int]]) -> Line:
    """The line above the rows."""
    return _join(layout, [[Span(column.title, "dim")] for column, _ in layout])


def draw_row(layout: Sequence[tuple[Column, int]], row: int) -> Line:
    """One row."""
    return _join(layout, [column.draw(row, width) for column, width in layout])


def _join(layout: Sequence[tuple[Column, int]], cells: Sequence[Line]) -> Line:
    line: Line = []
    for (column, width), cell in zip(layout, cells, strict=True):
        shown = fit_line(cell, width)
        pad = Span(" " * (width - line_cells(shown)))
        line.append(Span(" " * column.gap))
        line += [pad, *shown] if column.right else [*shown, pad]
    return line
