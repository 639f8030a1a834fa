"""A widget that is drawn as lines of styled text, and repaints only the cells that changed."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from msgspec import Struct
from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import cells_of, to_ascii
from gpuwatch.tui.palette import style_of

# Two changes this near are written as one: moving the cursor costs about as many bytes.
_NEAR = 6


class Hit(NamedTuple):
    """A stretch of cells that does something when it is clicked."""

    y: int
    x: int
    width: int
    action: str
    """An action in Textual's words, as `app.show_view('gpu')` or `choose(3)`."""
    tip: str = ""
    """What is said when the pointer rests there, as the reason of a dash."""


class Drawing(Struct):
    """What a canvas shows: its lines from the top, and what can be clicked in them."""

    lines: list[Line]
    hits: list[Hit] = []


class Canvas(Widget):
    """Subclasses draw; `redraw` compares with what is on the screen and paints the difference."""

    DEFAULT_CSS = "Canvas { width: 1fr; height: 1fr; }"
    ascii_only: ClassVar[bool] = False
    """Set once at start where the terminal can't show more."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name for it
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._hits: list[Hit] = []
        self._strips: dict[int, Strip] = {}
        self._painted_for: tuple[int, int, str] | None = None

    def draw(self, width: int, height: int) -> Drawing:
        """The lines to be seen now, at most `height` of them."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw anew and repaint what differs; costs nothing while the widget can't be seen."""
        width, height = self.size
        if not self.is_attached or not self.display or width <= 0 or height <= 0:
            return
        drawing = self._guarded_draw(width, height)
        before, painted_for = self._lines, self._painted_for
        self._lines, self._hits = drawing.lines[:height], drawing.hits
        self._painted_for = (width, height, self.app.theme)
        if painted_for != self._painted_for:
            self._strips.clear()
            self.refresh()
            return
        regions = list(changed_regions(before, self._lines, width))
        for region in regions:
            self._strips.pop(region.y, None)
        if regions:
            self.refresh(*regions)

    def paint_anew(self) -> None:
        """What was painted before looks different now."""
        self._painted_for = None

    def _guarded_draw(self, width: int, height: int) -> Drawing:
        """One panel's fault is told in that panel; the others live on."""
        try:
            return self.draw(width, height)
        except Exception as error:  # noqa: BLE001  # turned into words where the user looks
            return failed_drawing(error, width)

    def render_line(self, y: int) -> Strip:
        """Textual asks for one line; lines are turned into strips once and kept."""
        strip = self._strips.get(y)
        if strip is None:
            line = self._lines[y] if y < len(self._lines) else []
            strip = self._strips[y] = to_strip(line, self.size.width, self.app.theme, Canvas.ascii_only)
        return strip

    def on_resize(self) -> None:
        """A new size is a new picture."""
        self.redraw()

    def on_show(self) -> None:
        """What was hidden may be out of date."""
        self.redraw()

    def hit_at(self, x: int, y: int) -> Hit | None:
        """What lies under these cells."""
        for hit in reversed(self._hits):
            if hit.y == y and hit.x <= x < hit.x + hit.width:
                return hit
        return None

    async def on_click(self, event: events.Click) -> None:
        """A click does what the cells under it promise."""
        hit = self.hit_at(event.x, event.y)
        if hit is not None and hit.action:
            event.stop()
            await self.run_action(hit.action)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The reason of what is absent, where the pointer rests."""
        hit = self.hit_at(event.x, event.y)
        tip = hit.tip if hit is not None and hit.tip else None
        if self.tooltip != tip:
            self.tooltip = tip


def failed_drawing(error: Exception, width: int) -> Drawing:
    """The words in place of a panel that could not be drawn."""
    told = f" ✖ This panel could not be drawn: {type(error).__name__}: {error}"
    return Drawing(
        lines=[fit_line([Span(told, "critical text")], width), [Span("   The others go on. It is a bug.", "dim")]]
    )


def to_strip(line: Line, width: int, theme: str, ascii_only: bool) -> Strip:
    """The line as Textual paints it, exactly `width` cells."""
    fitted = fit_line(line, width)
    under_cursor = bool(line) and line[0].style.endswith("+cursor")
    segments = [
        Segment(to_ascii(span.text) if ascii_only else span.text, style_of(theme, span.style, under_cursor))
        for span in fitted
        if span.text
    ]
    used = line_cells(fitted)
    if used < width:
        segments.append(Segment(" " * (width - used), style_of(theme, "", under_cursor)))
    return Strip(segments, width)


def with_cursor(line: Line) -> Line:
    """The line as the one that is chosen: its background goes over its whole width."""
    first = line[0] if line else Span("")
    return [Span("", f"{first.style}+cursor" if first.style else "+cursor"), *line]


def changed_regions(before: Sequence[Line], after: Sequence[Line], width: int) -> Iterator[Region]:
    """Where two pictures differ, line by line, near changes joined."""
    for y in range(max(len(before), len(after))):
        old = before[y] if y < len(before) else []
        new = after[y] if y < len(after) else []
        if old == new:
            continue
        yield from (Region(x, y, end - x, 1) for x, end in _changed_spans(_cells(old, width), _cells(new, width)))


_Cell = tuple[str, str]
_BLANK: _Cell = (" ", "")


def _cells(line: Line, width: int) -> list[_Cell]:
    """Each cell with its style; the second half of a wide letter is an empty text."""
    cells: list[_Cell] = []
    row = line[0].style if line and line[0].style.endswith("+cursor") else ""
    for text, style in line:
        if text.isascii():
            cells.extend((letter, style) for letter in text)
            continue
        for letter in text:
            cells.append((letter, style))
            cells.extend([("", style)] * (cells_of(letter) - 1))
    del cells[width:]
    cells.extend([_BLANK] * (width - len(cells)))
    return [(letter, f"{style}{row}") for letter, style in cells] if row else cells


def _changed_spans(old: list[_Cell], new: list[_Cell]) -> Iterator[tuple[int, int]]:
    start: int | None = None
    end = 0
    for x, (was, now) in enumerate(zip(old, new, strict=True)):
        if was == now:
            continue
        if start is not None and x - end > _NEAR:
            yield start, end
            start = None
        if start is None:
            start = x
        end = x + 1
    if start is not None:
        yield start, end
