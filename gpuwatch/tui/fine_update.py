"""Writes only the cells that changed, and of their style only what changes from one to the next."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate

_RESET = "\x1b[0m"


class FineUpdate(CompositorUpdate):
    """The same spans as Textual's update, which begins every change at its widget's left edge, each from its first changed cell to its last."""

    def __init__(self, update: ChopsUpdate) -> None:
        self._update = update

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        pen = _Pen(console._color_system or ColorSystem.TRUECOLOR)  # noqa: SLF001  # Textual's own update asks so
        update = self._update
        for y, first, last in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                begin = max(first, x)
                pen.move_to(begin, y)
                pen.write(strip.crop(begin - x, min(end, last) - x))
        return pen.written()


class _Codes(NamedTuple):
    """One style in the terminal's words: weight and the like, colour of the letters, colour behind them."""

    weight: str
    letters: str
    behind: str


_PLAIN = _Codes("", "", "")


class _Pen:
    """Holds the style in which it writes, and says only what is to be another."""

    def __init__(self, colours: ColorSystem) -> None:
        self._colours = colours
        self._parts: list[str] = []
        self._style = _PLAIN

    def move_to(self, x: int, y: int) -> None:
        """Where the next letter goes."""
        self._parts.append(f"\x1b[{y + 1};{x + 1}H")

    def write(self, segments: Iterable[Segment]) -> None:
        """The letters, each in its style."""
        for text, style, control in segments:
            if text and not control:
                self._turn_to(_PLAIN if style is None else _codes(style, self._colours))
                self._parts.append(text)

    def _turn_to(self, wanted: _Codes) -> None:
        now = self._style
        if wanted == now:
            return
        lost = any(was and not to_be for was, to_be in zip(now, wanted, strict=True))
        if wanted.weight != now.weight or lost:
            # A weight can't be taken back alone in all terminals.
            told = ["0", *(code for code in wanted if code)]
        else:
            told = [code for was, code in zip(now, wanted, strict=True) if code != was]
        self._parts.append(f"\x1b[{';'.join(told)}m")
        self._style = wanted

    def written(self) -> str:
        """All of it, with the terminal left plain."""
        if self._style != _PLAIN:
            self._parts.append(_RESET)
        return "".join(self._parts)


@lru_cache(maxsize=1024)
def _codes(style: Style, colours: ColorSystem) -> _Codes:
    letters = style.color.downgrade(colours).get_ansi_codes() if style.color is not None else ()
    behind = style.bgcolor.downgrade(colours).get_ansi_codes(foreground=False) if style.bgcolor is not None else ()
    weight = style.without_color.render("x", color_system=colours).partition("m")[0].removeprefix("\x1b[")
    return _Codes("" if weight == "x" else weight, ";".join(letters), ";".join(behind))


def refined(update: Any) -> Any:
    """The finer form of an update of parts; any other is left as it is."""
    return FineUpdate(update) if type(update) is ChopsUpdate else update
