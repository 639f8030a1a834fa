"""A short list to choose from, by keys or by mouse."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


class Offer(NamedTuple):
    """One thing to choose."""

    key: str
    word: str
    told: str = ""


class Choice(ModalScreen[str | None]):
    """Gives the key of what was chosen, or None."""

    DEFAULT_CSS = """
    Choice { align: center middle; background: $background 40%; }
    Choice > Vertical { width: auto; min-width: 30; max-width: 90%; height: auto; max-height: 90%; border: round $accent; background: $surface; padding: 0 1; }
    Choice Static { width: auto; text-style: bold; }
    Choice OptionList { width: auto; min-width: 28; height: auto; max-height: 100%; border: none; background: $surface; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "leave it", id="choice.leave")]

    def __init__(self, title: str, offers: Sequence[Offer], chosen: str | None = None) -> None:
        super().__init__()
        self._title = title
        self._offers = offers
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """The title and the list."""
        widest = max(len(offer.word) for offer in self._offers)
        with Vertical():
            yield Static(Text(self._title))
            yield OptionList(
                *(
                    Option(
                        Text.assemble(f"{offer.word:<{widest}}", (f"  {offer.told}" if offer.told else "", "dim")),
                        id=offer.key,
                    )
                    for offer in self._offers
                )
            )

    def on_mount(self) -> None:
        """The cursor begins on what holds now."""
        options = self.query_one(OptionList)
        options.focus()
        keys = [offer.key for offer in self._offers]
        options.highlighted = keys.index(self._chosen) if self._chosen in keys else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        event.stop()
        self.dismiss(event.option.id)
