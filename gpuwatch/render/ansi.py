"""Styled text as plain data, and its way onto a terminal."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpuwatch.render.text import cells_of, cut, to_ascii

_SGR = {
    "dim": "2",
    "bold": "1",
    "ok": "32",
    "accent": "36",
    "info": "36",
    "warning": "1;33",
    "stale": "33",
    "critical": "1;31",
    "lost": "1;31",
    "bar": "2;36",
    "warning text": "33",
    "stale text": "33",
    "critical text": "31",
    "lost text": "31",
    "info text": "",
    "badge": "1;7;33",
}


class Span(NamedTuple):
    """A piece of text in one style; the empty style is the terminal's own."""

    text: str
    style: str = ""


Line = list[Span]


def line_cells(line: Iterable[Span]) -> int:
    """How many cells the spans take together."""
    return sum(cells_of(span.text) for span in line)


def fit_line(line: Line, width: int) -> Line:
    """The line cut to `width` cells."""
    if line_cells(line) <= width:
        return line
    return list(_cut_spans(line, width))


def _cut_spans(line: Line, width: int) -> Iterator[Span]:
    room = width
    for position, span in enumerate(line):
        needed = cells_of(span.text)
        rest = line_cells(line[position + 1 :])
        if needed > room or (needed == room and rest):
            # A cut is marked even where the missing part starts at a border between spans.
            text = span.text if needed > room else f"{span.text} "
            yield Span(cut(text, room), span.style)
            return
        yield span
        room -= needed


def to_text(lines: Iterable[Line], *, width: int, colour: bool, unicode: bool) -> str:
    """The lines as a terminal wants them, none wider than `width`, ending in a newline."""
    return "".join(f"{_to_text_line(fit_line(line, width), colour, unicode)}\n" for line in lines)


def _to_text_line(line: Line, colour: bool, unicode: bool) -> str:
    parts: list[str] = []
    for text, style in line:
        shown = text if unicode else to_ascii(text)
        parts.append(f"\x1b[{_SGR[style]}m{shown}\x1b[0m" if colour and _SGR.get(style) and shown.strip() else shown)
    joined = "".join(parts)
    return joined if colour else joined.rstrip()
