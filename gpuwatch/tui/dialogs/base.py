"""A page over the dashboard: lines to read, with a scrollbar where they are many; Esc, q or Enter closes it."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from gpuwatch.render.ansi import Line
from gpuwatch.tui.canvas import Canvas, to_strip


class _Lines(Widget):
    """Lines as tall as they are."""

    DEFAULT_CSS = "_Lines { width: 1fr; height: auto; }"

    def __init__(self, draw: Callable[[int], list[Line]]) -> None:
        super().__init__()
        self._draw = draw
        self._drawn: tuple[int, list[Line]] = (0, [])

    def get_content_height(self, _container: object, _viewport: object, width: int) -> int:
        """As many lines as the text takes at that width."""
        return len(self._lines_at(width))

    def _lines_at(self, width: int) -> list[Line]:
        if self._drawn[0] != width:
            self._drawn = (width, self._draw(width))
        return self._drawn[1]

    def render_line(self, y: int) -> Strip:
        """One line of the text."""
        lines = self._lines_at(self.size.width)
        return to_strip(lines[y] if y < len(lines) else [], self.size.width, self.app.theme, Canvas.ascii_only)


class Page(ModalScreen[None]):
    """Shows what `draw(width)` gives."""

    DEFAULT_CSS = """
    Page { align: center middle; background: $background 60%; }
    Page > VerticalScroll { width: 90%; max-width: 110; height: auto; max-height: 90%; border: round $primary;
        background: $background; padding: 0 1; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark,f1", "dismiss", "close"),
        Binding("up,k", "scroll(-1)", "up", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("pageup,b", "scroll(-10)", "ten up", show=False),
        Binding("pagedown,space", "scroll(10)", "ten down", show=False),
    ]

    def __init__(self, title: str, draw: Callable[[int], list[Line]]) -> None:
        super().__init__()
        self._title = title
        self._draw = draw

    def compose(self) -> ComposeResult:
        """A frame with the lines in it."""
        with VerticalScroll() as scroll:
            scroll.border_title = self._title
            scroll.border_subtitle = "esc closes"
            yield _Lines(self._draw)

    def action_scroll(self, lines: int) -> None:
        """Read on, or back."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
