"""A view with a list in it: a cursor that stays on its row when the order changes, scrolling, and rows to click."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from gpuwatch.tui.views.base import View


class RowsView(View):
    """Subclasses keep `keys` in the order shown; what is under the cursor is told by `chosen_key`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", id="rows.up", show=False),
        Binding("down", "move(1)", "down", id="rows.down", show=False),
        Binding("pageup", "move(-10)", "ten up", id="rows.page_up", show=False),
        Binding("pagedown", "move(10)", "ten down", id="rows.page_down", show=False),
        Binding("enter", "open", "open", id="rows.open", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.keys: Sequence[str] = ()
        self.chosen_key: str | None = None
        self._first_shown = 0

    def take_rows(self, keys: Sequence[str]) -> int:
        """The rows there are now, in order; gives the cursor's place, which follows its row or stays near where it was."""
        place = self._place()
        self.keys = keys
        if self.chosen_key not in keys:
            self.chosen_key = keys[min(place, len(keys) - 1)] if keys else None
        return self._place()

    def window(self, height: int) -> tuple[int, int]:
        """Which rows are to be seen on so many lines, first and behind the last, the cursor's among them."""
        place, count = self._place(), len(self.keys)
        height = max(height, 1)
        first = min(self._first_shown, max(count - height, 0), place)
        if place >= first + height:
            first = place - height + 1
        self._first_shown = first
        return first, min(first + height, count)

    def _place(self) -> int:
        try:
            return list(self.keys).index(self.chosen_key) if self.chosen_key is not None else 0
        except ValueError:
            return 0

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        if self.keys:
            self.chosen_key = self.keys[min(max(self._place() + rows, 0), len(self.keys) - 1)]
            self.redraw()

    def action_choose(self, key: str) -> None:
        """Put the cursor on a row; clicking it once more opens it."""
        if self.chosen_key == key:
            self.action_open()
            return
        self.chosen_key = key
        self.redraw()

    def action_open(self) -> None:
        """What Enter does on the row under the cursor."""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.action_move(-3)
