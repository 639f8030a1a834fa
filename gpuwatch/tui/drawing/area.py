"""A filled chart of several lines in eighths of a cell, on a scale that stays."""

from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def area_lines(
    means: Sequence[float | None], scale: tuple[float, float], height: int, style: str, limit: float | None = None
) -> list[Line]:
    """One column a mean, from the top line down; a limit inside the scale is drawn as a dotted line."""
    low, high = scale
    span = max(high - low, 1e-9)
    levels = [
        None if mean is None else min(max(round((mean - low) / span * height * 8), 0), height * 8) for mean in means
    ]
    limit_line = None
    if limit is not None and low < limit <= high:
        limit_line = height - 1 - min(int((limit - low) / span * height), height - 1)
    lines: list[Line] = []
    for y in range(height):
        base = (height - 1 - y) * 8
        cells = "".join(_cell(level, base) for level in levels)
        if y == limit_line:
            lines.append(_with_limit(cells, style))
        else:
            lines.append([Span(cells, style)])
    return lines


def _cell(level: int | None, base: int) -> str:
    if level is None:
        return " "
    if base == 0 and level == 0:
        return "▁"
    return _EIGHTHS[min(max(level - base, 0), 8)]


def _with_limit(cells: str, style: str) -> Line:
    """The limit shows where the chart does not reach it."""
    line: Line = []
    for cell in cells:
        piece = Span("┈", "limit") if cell == " " else Span(cell, style)
        if line and line[-1].style == piece.style:
            line[-1] = Span(line[-1].text + piece.text, piece.style)
        else:
            line.append(piece)
    return line
