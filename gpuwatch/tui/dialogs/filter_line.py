"""One line to type a filter into, while the list above follows every letter."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class FilterLine(ModalScreen[None]):
    """Enter keeps what was typed, Esc puts back what was there before."""

    DEFAULT_CSS = """
    FilterLine { align: center bottom; background: transparent; }
    FilterLine > Vertical { width: 100%; height: 3; background: $surface; border-top: solid $accent; }
    FilterLine Input { width: 100%; height: 1; border: none; padding: 0 1; background: $surface; }
    FilterLine Static { width: 100%; height: 1; padding: 0 1; color: $foreground 60%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "put_back", "as it was", id="filter.put_back")]

    def __init__(self, text: str, hint: str, changed: Callable[[str], None]) -> None:
        super().__init__()
        self._before = text
        self._hint = hint
        self._changed = changed

    def compose(self) -> ComposeResult:
        """The line, and what can be typed."""
        with Vertical():
            yield Input(self._before, placeholder="filter", select_on_focus=False)
            yield Static(self._hint, markup=False)

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every letter counts at once."""
        event.stop()
        self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps it."""
        event.stop()
        self.dismiss(None)

    def action_put_back(self) -> None:
        """Esc leaves all as it was."""
        self._changed(self._before)
        self.dismiss(None)
