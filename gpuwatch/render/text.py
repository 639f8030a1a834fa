"""Text that fits into cells: widths, cutting, wrapping, cleaning; everything foreign passes through `clean` first."""

SIGNS = {"ok": "●", "info": "·", "warning": "▲", "critical": "✖", "stale": "◌", "lost": "⊘"}
DASH = "–"

_TO_ASCII = str.maketrans(
    {
        "●": "o",
        "▲": "!",
        "✖": "X",
        "◌": "~",
        "⊘": "@",
        "–": "-",
        "—": "-",
        "−": "-",
        "·": "|",
        "…": "~",
        "→": ">",
        "↑": "^",
        "↓": "v",
        "•": "*",
        "×": "x",
        "°": " ",
        "└": "`",
        "├": "|",
        "│": "|",
        "─": "-",
        "█": "#",
        "▉": "#",
        "▊": "#",
        "▋": "#",
        "▌": "=",
        "▍": "=",
        "▎": "-",
        "▏": "-",
        "░": ".",
        "▁": "_",
        "▂": "_",
        "▃": "-",
        "▄": "-",
        "▅": "=",
        "▆": "=",
        "▇": "#",
        "▸": ">",
        "�": "?",
    }
)
_EIGHTHS = " ▏▎▍▌▋▊▉"


def clean(text: str) -> str:
    """The text without anything that could move a cursor, hide, or take no room: one line of honest cells."""
    if text.isascii() and text.isprintable():
        return text
    import unicodedata  # 1 MB of tables that plain names never need

    cells: list[str] = []
    for letter in unicodedata.normalize("NFC", text):
        category = unicodedata.category(letter)
        if category in {"Mn", "Me", "Cf"}:
            continue
        if letter in "\t\n\r" or category in {"Zs", "Zl", "Zp"}:
            cells.append(" ")
        else:
            cells.append("�" if category[0] == "C" else letter)
    return "".join(cells)


def cells_of(text: str) -> int:
    """How many terminal cells a cleaned text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(letter: str) -> int:
    if letter < "ᄀ" or "─" <= letter <= "▟":
        return 1
    import unicodedata

    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """At most `width` cells, ending in … where something is missing."""
    if cells_of(text) <= width:
        return text
    if width <= 0:
        return ""
    kept: list[str] = []
    room = width - 1
    for letter in text:
        room -= _cells(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        rest = word
        while cells_of(rest) > width:
            room = width - cells_of(line) - 1 if line else width
            if room < width // 2:
                lines.append(line)
                line, room = "", width
            head = _head(rest, max(room, 1))
            lines.append(f"{line} {head}" if line else head)
            line, rest = "", rest[len(head) :]
        if not rest:
            continue
        if line and cells_of(line) + 1 + cells_of(rest) > width:
            lines.append(line)
            line = rest
        else:
            line = f"{line} {rest}" if line else rest
    return [*lines, line] if line else lines


def _head(text: str, width: int) -> str:
    """The first letters that fit, at least one."""
    used = 0
    for position, letter in enumerate(text):
        used += _cells(letter)
        if used > width and position:
            return text[:position]
    return text


def bar(share: float, width: int) -> str:
    """A bar in eighths of a cell with its track, exactly `width` cells."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, part = divmod(eighths, 8)
    filled = "█" * full + (_EIGHTHS[part] if part else "")
    return filled + "░" * (width - len(filled))


def to_ascii(text: str) -> str:
    """The same in ASCII, cell by cell, so that columns stay where they are."""
    replaced = text.translate(_TO_ASCII)
    if replaced.isascii():
        return replaced
    return "".join(letter if letter.isascii() else "?" * _cells(letter) for letter in replaced)
