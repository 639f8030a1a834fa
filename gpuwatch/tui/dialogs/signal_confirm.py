"""The last question before a signal is sent, and afterwards what became of it, process by process."""

import asyncio
from collections.abc import Callable, Sequence
from signal import Signals
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from gpuwatch.render.text import SIGNS, cut
from gpuwatch.render.units import index_list
from gpuwatch.tui.palette import style_of
from gpuwatch.tui.processes.signals import Outcome, Target

_MARKS = {"delivered": "ok", "denied": "critical", "gone": "stale", "refused": "critical"}
_NAME_CELLS = 48


class ConfirmSignal(ModalScreen[Sequence[Outcome]]):
    """Nothing is sent before somebody says so; gives what became of it."""

    DEFAULT_CSS = """
    ConfirmSignal { align: center middle; background: $background 40%; }
    ConfirmSignal > Vertical { width: auto; min-width: 40; max-width: 96%; height: auto; max-height: 96%; border: round $warning; background: $surface; padding: 0 1; }
    ConfirmSignal #question { width: auto; max-width: 100%; text-style: bold; }
    ConfirmSignal VerticalScroll { width: auto; max-width: 100%; height: auto; max-height: 60vh; }
    ConfirmSignal #those { width: auto; max-width: 100%; }
    ConfirmSignal #note { width: auto; max-width: 100%; color: $warning; }
    ConfirmSignal Horizontal { width: auto; height: 1; }
    ConfirmSignal Button { min-width: 10; margin: 0 2 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "send", "send it", id="signal.send"),
        Binding("n,escape", "leave", "leave it", id="signal.leave"),
        Binding("left,right", "app.focus_next", "the other button", show=False, id="signal.other"),
    ]

    def __init__(self, number: Signals, targets: Sequence[Target], send: Callable[[Target, Signals], Outcome]) -> None:
        super().__init__()
        self._number = number
        self._targets = targets
        self._send = send
        self._outcomes: Sequence[Outcome] = ()
        self._sent = False

    def compose(self) -> ComposeResult:
        """Who will get it, what that means, and the two answers."""
        count = len(self._targets)
        with Vertical():
            yield Static(
                f"Send {self._number.name} to {'this process' if count == 1 else f'these {count} processes'}?",
                id="question",
                markup=False,
            )
            with VerticalScroll():
                yield Static(Text("\n").join(self._told(target) for target in self._targets), id="those")
            yield Static(ranks_note(self._targets), id="note", markup=False)
            with Horizontal():
                yield Button("No (n)", id="no", compact=True)
                yield Button(f"Send {self._number.name} (y)", id="yes", variant="warning", compact=True)

    def on_mount(self) -> None:
        """Enter on the way in does nothing bad."""
        self.query_one("#no", Button).focus()
        note = self.query_one("#note", Static)
        note.display = bool(ranks_note(self._targets))

    @staticmethod
    def _told(target: Target) -> Text:
        gpus = f"  GPU {index_list(list(target.gpus))}" if target.gpus else ""
        return Text.assemble(
            (f"{target.pid:>8}", "bold"), f"  {target.user or '?'}", (gpus, "dim"), f"  {cut(target.name, _NAME_CELLS)}"
        )

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The mouse, or Enter on a button."""
        event.stop()
        if event.button.id == "yes":
            self.call_later(self.action_send)
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Close, with what became of it, if anything was sent."""
        self.dismiss(self._outcomes)

    async def action_send(self) -> None:
        """Send to each, and tell of each."""
        if self._sent:
            return
        self._sent = True
        self._outcomes = await asyncio.to_thread(lambda: [self._send(target, self._number) for target in self._targets])
        self.query_one("#question", Static).update(Text(sentence(self._outcomes, self._number)))
        self.query_one("#those", Static).update(
            Text("\n").join(_told_after(outcome, self.app.theme) for outcome in self._outcomes)
        )
        self.query_one("#note", Static).display = False
        self.query_one("#yes", Button).display = False
        close = self.query_one("#no", Button)
        close.label = "Close (esc)"
        close.focus()


def ranks_note(targets: Sequence[Target]) -> str:
    """What it means for others when a rank is hit."""
    ranks = [target for target in targets if target.rank is not None and (target.ranks or 0) > 1]
    if not ranks or any(len(ranks) >= (target.ranks or 0) for target in ranks):
        return ""
    first = ranks[0]
    return f"Rank {first.rank} of {first.ranks}: the other ranks will wait for it, or end with it."


def sentence(outcomes: Sequence[Outcome], number: Signals) -> str:
    """The outcome in one line."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.word] = counts.get(outcome.word, 0) + 1
    return f"{number.name}: " + ", ".join(
        f"{count} {word}" if len(outcomes) > 1 else word for word, count in counts.items()
    )


def _told_after(outcome: Outcome, theme: str) -> Text:
    mark = _MARKS[outcome.word]
    colour = Style(color=style_of(theme, mark).color, bold=True)
    return Text.assemble(
        (f" {SIGNS[mark]} ", colour),
        (f"{outcome.target.pid:>8}", "bold"),
        f"  {cut(outcome.target.name, 32)}  ",
        (outcome.word, "bold"),
        (f": {outcome.told}", ""),
    )
