"""What every cell passes through on its way to a terminal that shows less: no colours, or ASCII only."""

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from gpuwatch.render.text import to_ascii

# Frames, scrollbars and blocks that Textual's own widgets and our charts are drawn with.
_LINES = str.maketrans(
    {
        **dict.fromkeys("│┃║┆┇┊┋▕▏▎▍▐╎╏", "|"),
        **dict.fromkeys("─━═┄┅┈┉╌╍▔", "-"),
        **dict.fromkeys("┌┐└┘╭╮╰╯├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬", "+"),
        **dict.fromkeys("▁▂", "_"),
        **dict.fromkeys("▃▄▅", "="),
        **dict.fromkeys("▆▇▀", "#"),
        "◆": "*",
        "┊": ":",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "•": "*",
        "▸": ">",
        "▾": "v",
        "▶": ">",
        "▼": "v",
        "°": " ",
        "⏸": "|",
        "⇧": "^",
    }
)


@lru_cache(maxsize=4096)
def plain_letters(text: str) -> str:
    """The same cells in ASCII; braille is dense or thin."""
    if text.isascii():
        return text
    thinned = "".join(_braille(letter) if "⠀" <= letter <= "⣿" else letter for letter in text)
    return to_ascii(thinned.translate(_LINES))


def _braille(letter: str) -> str:
    dots = (ord(letter) - 0x2800).bit_count()
    return " .:=#"[(dots + 1) // 2]


class AsciiOnly(LineFilter):
    """No byte above 127 is written, whoever drew the line."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in ASCII."""
        del background
        return [Segment(plain_letters(text), style, control) for text, style, control in segments]


@lru_cache(maxsize=1024)
def _colourless(style: Style) -> Style:
    return style.without_color


class Colourless(LineFilter):
    """Bold, underlined and reversed stay; nothing has a colour, not even the default one."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments without colours."""
        del background
        return [
            Segment(text, None if style is None else _colourless(style), control) for text, style, control in segments
        ]
