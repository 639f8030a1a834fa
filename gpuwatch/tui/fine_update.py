"""Writes only the cells that changed: Textual's own update begins every change at its widget's left edge."""

from typing import Any

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, CompositorUpdate


class FineUpdate(CompositorUpdate):
    """The same spans as Textual's update, each from its first changed cell to its last."""

    def __init__(self, update: ChopsUpdate) -> None:
        self._update = update

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        parts: list[str] = []
        update = self._update
        for y, first, last in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                begin = max(first, x)
                changed = strip.crop(begin - x, min(end, last) - x)
                parts += (Control.move_to(begin, y).segment.text, changed.render(console))
        return "".join(parts)


def refined(update: Any) -> Any:
    """The finer form of an update of parts; any other is left as it is."""
    return FineUpdate(update) if type(update) is ChopsUpdate else update
