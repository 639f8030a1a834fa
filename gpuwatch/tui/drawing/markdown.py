"""Runbook pages as lines: headings, paragraphs, lists, tables and code, as much of Markdown as they use."""

import re

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.text import cells_of, clean, wrap

_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_MARKED = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*)")
_ITEM = re.compile(r"^(\s*)([-*]|\d+\.)\s+(.*)$")


def markdown_lines(page: str, width: int) -> list[Line]:
    """The page on lines of at most `width` cells."""
    reader = _Reader(width)
    for raw in page.splitlines():
        reader.take(raw)
    reader.end_paragraph()
    return reader.lines


class _Reader:
    """Takes a page line by line; words of a paragraph are gathered until it ends."""

    def __init__(self, width: int) -> None:
        self.lines: list[Line] = []
        self._width = width
        self._words: list[str] = []
        self._prefixes = ("", "")
        self._in_code = False

    def take(self, raw: str) -> None:
        text = raw.rstrip()
        item = _ITEM.match(text)
        if text.startswith("```"):
            self.end_paragraph()
            self._in_code = not self._in_code
        elif self._in_code:
            self.lines += _code(clean(text), self._width)
        elif not text or text[0] in "#|":
            self.end_paragraph()
            self.lines += _alone(text, self._width)
        elif item:
            self.end_paragraph()
            self._prefixes = (f"{item[1]}{'•' if item[2] in '-*' else item[2]} ", item[1] + "  ")
            self._words = [item[3]]
        else:
            self._words.append(text.strip())

    def end_paragraph(self) -> None:
        if self._words:
            self.lines += _wrapped(" ".join(self._words), self._width, *self._prefixes)
        self._words, self._prefixes = [], ("", "")


def _alone(text: str, width: int) -> list[Line]:
    """Lines that are no part of a paragraph: blank ones, headings, rows of tables."""
    if not text:
        return [[]]
    if text.startswith("#"):
        return [[Span(part, "title")] for part in wrap(_plain(text.lstrip("# ")), max(width, 16))]
    return _table_row(text, width)


def _code(text: str, width: int) -> list[Line]:
    """A command too long for a line goes on below as a shell takes it, its comment before it."""
    if cells_of(text) + 2 <= width:
        return [[Span(f"  {text}", "accent")]]
    command, _, comment = text.partition(" # ")
    told = [[Span(f"  {part}", "dim")] for part in wrap(f"# {comment.strip()}", max(width - 2, 16))] if comment else []
    room = max(width - 6, 16)
    parts = wrap(command, room)
    joint = "" if any(cells_of(word) > room for word in command.split()) else " \\"
    return [
        *told,
        *(
            [Span("    " if position else "  "), Span(part if position + 1 == len(parts) else part + joint, "accent")]
            for position, part in enumerate(parts)
        ),
    ]


def _plain(text: str) -> str:
    return clean(_LINK.sub(r"\1", text))


def _wrapped(text: str, width: int, first: str, others: str) -> list[Line]:
    room = max(width - max(cells_of(first), cells_of(others)), 16)
    lines: list[Line] = []
    for position, part in enumerate(wrap(_plain(text), room)):
        prefix = first if position == 0 else " " * cells_of(first)
        lines.append([Span(prefix, "dim"), *_styled(part)])
    return lines


def _styled(text: str) -> Line:
    """Code and strong words; where wrapping cut a pair of marks, the marks stay as they are."""
    line: Line = []
    for part in _MARKED.split(text):
        if part.startswith("`") and part.endswith("`") and len(part) > 2:
            line.append(Span(part[1:-1], "accent"))
        elif part.startswith("**") and part.endswith("**") and len(part) > 4:
            line.append(Span(part[2:-2], "bold"))
        elif part:
            line.append(Span(part))
    return line


def _table_row(text: str, width: int) -> list[Line]:
    """A row's cells one after the other: tables of the pages are lists of a word and what it means."""
    cells = [cell.strip() for cell in text.strip("|").split("|")]
    if all(set(cell) <= {"-", ":", " "} for cell in cells):
        return []
    head, *rest = cells
    told = " · ".join(cell for cell in rest if cell)
    return _wrapped(f"{head}: {told}" if told else head, width, "  ", "    ")
