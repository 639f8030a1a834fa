"""The settings: what they are, what they could be, changed at once and given back when the page is closed."""

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct, structs
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from gpuwatch.render.ansi import Line, Span, line_cells
from gpuwatch.render.text import wrap
from gpuwatch.tui.canvas import Canvas, Drawing, Hit, with_cursor
from gpuwatch_agent.config import DashboardSection
from gpuwatch_agent.settings import all_settings

Value = str | int | bool
_HISTORY_S = (120, 300, 600, 1200, 3600)
_NAME_CELLS = 17


class Choice(Struct, frozen=True):
    """One setting and what it may be."""

    name: str
    values: Sequence[Value]
    words: str

    def shown(self, value: Value) -> str:
        """The value as people read it."""
        if isinstance(value, bool):
            return "on" if value else "off"
        return f"{value // 60} min" if isinstance(value, int) else value


def choices() -> list[Choice]:
    """Every setting of the dashboard, from its declaration."""
    found: list[Choice] = []
    for setting in all_settings():
        if setting.section == "dashboard":
            values: Sequence[Value] = _HISTORY_S
            if setting.type is bool:
                values = (True, False)
            elif setting.type is not int:
                values = typing.get_args(setting.type)
            found.append(Choice(setting.name, values, setting.meta.description or ""))
    return found


class _Rows(Canvas, can_focus=True):
    """One line a setting, and below them what the one under the cursor means."""

    def draw(self, width: int, height: int) -> Drawing:
        page = self.screen
        return page.picture(width, height) if isinstance(page, SettingsPage) else Drawing(lines=[])


class SettingsPage(ModalScreen[Mapping[str, Value]]):
    """Gives what was changed, by name, when it is closed."""

    DEFAULT_CSS = """
    SettingsPage { align: center middle; background: $background 60%; }
    SettingsPage > Container { width: 90%; max-width: 84; height: auto; max-height: 94%; border: round $primary;
        background: $background; padding: 0 1; }
    SettingsPage _Rows { height: 11; max-height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,f2", "close", "save and close"),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("left", "turn(-1)", "the value before", show=False),
        Binding("right,space", "turn(1)", "the next value", show=False),
        Binding("u", "undo", "as it was", show=False),
    ]

    def __init__(self, settings: DashboardSection, apply: Callable[[DashboardSection], None]) -> None:
        super().__init__()
        self._before = self._now = settings
        self._apply = apply
        self._choices = choices()
        self._place = 0
        self._rows = _Rows()

    def compose(self) -> ComposeResult:
        """A frame with the rows in it."""
        with Container() as frame:
            frame.border_title = "settings"
            frame.border_subtitle = "← → change   u undo   esc saves and closes"
            yield self._rows

    def on_mount(self) -> None:
        """Keys go to the page."""
        self._rows.focus()

    def picture(self, width: int, height: int) -> Drawing:
        """The rows that fit, the one under the cursor among them."""
        drawing = Drawing(lines=[])
        rows = min(len(self._choices), max(height - 3, 1))
        first = min(max(self._place - rows + 1, 0), len(self._choices) - rows)
        for place in range(first, first + rows):
            line, hits = self._row(place, width, len(drawing.lines))
            drawing.hits += hits
            drawing.lines.append(with_cursor(line) if place == self._place else line)
        chosen = self._choices[self._place]
        drawing.lines.append([])
        for text in wrap(chosen.words, max(width - 2, 20)):
            drawing.lines.append([Span(f" {text}", "dim")])
        return drawing

    def _row(self, place: int, width: int, y: int) -> tuple[Line, list[Hit]]:
        choice = self._choices[place]
        now: Value = getattr(self._now, choice.name)
        line: Line = [Span(f" {choice.name.removesuffix('_s').replace('_', ' '):<{_NAME_CELLS}}")]
        values = choice.values if now in choice.values else [*choice.values, now]
        if sum(len(choice.shown(value)) + 2 for value in values) + _NAME_CELLS > width:
            values = [now]
        hits = [Hit(y, 0, width, f"screen.go_to({place})")]
        for value in values:
            word = choice.shown(value)
            mark = f"[{word}]" if value == now else f" {word} "
            hits.append(Hit(y, line_cells(line), len(mark), f"screen.choose({place}, {value!r})"))
            line.append(Span(mark, "key" if value == now else "dim"))
        return line, hits

    def action_move(self, rows: int) -> None:
        """Another setting."""
        self.action_go_to(self._place + rows)

    def action_go_to(self, place: int) -> None:
        """That setting."""
        self._place = min(max(place, 0), len(self._choices) - 1)
        self._rows.redraw()

    def action_turn(self, direction: int) -> None:
        """Another value of the setting under the cursor."""
        choice = self._choices[self._place]
        now: Value = getattr(self._now, choice.name)
        values = list(choice.values)
        nearest = values.index(now) if now in values else 0
        self.action_choose(self._place, values[(nearest + direction) % len(values)])

    def action_choose(self, place: int, value: Value) -> None:
        """That value of that setting, from now on."""
        self._place = place
        self._change(structs.replace(self._now, **{self._choices[place].name: value}))

    def action_undo(self) -> None:
        """As it was when the page was opened."""
        self._change(self._before)

    def _change(self, settings: DashboardSection) -> None:
        self._now = settings
        self._apply(settings)
        self._rows.paint_anew()
        self._rows.redraw()

    def action_close(self) -> None:
        """Give back what differs."""
        before, now = structs.asdict(self._before), structs.asdict(self._now)
        self.dismiss({name: value for name, value in now.items() if value != before[name]})

    def on_click(self, event: events.Click) -> None:
        """A click beside the page closes it."""
        if event.widget is self:
            self.action_close()
