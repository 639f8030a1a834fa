"""What all views share: they are canvases that draw from a moment."""

from typing import TYPE_CHECKING, ClassVar, cast

from gpuwatch.render.ansi import Span
from gpuwatch.render.header import sentence_lines
from gpuwatch.tui.canvas import Canvas, Drawing
from gpuwatch.tui.moment import Moment

if TYPE_CHECKING:
    from gpuwatch.tui.app import GpuwatchApp


class View(Canvas, can_focus=True):
    """One numbered screen of the dashboard. `name_of` is its id, `title` the word on its tab."""

    name_of: ClassVar[str]
    title: ClassVar[str]
    short: ClassVar[str]
    """The word on the tab where room is short."""

    def __init__(self) -> None:
        super().__init__(id=self.name_of)
        self.moment: Moment | None = None

    @property
    def dashboard(self) -> "GpuwatchApp":
        """The application, with what is chosen in it."""
        return cast("GpuwatchApp", self.app)

    def show(self, moment: Moment) -> None:
        """Another moment is to be seen."""
        self.moment = moment
        self.redraw()

    def forget(self) -> None:
        """Another node is followed now: what was chosen belongs to the one before."""
        self.moment = None

    def draw(self, width: int, height: int) -> Drawing:
        """The moment's picture; before the first frame a word of patience, or why there is none."""
        if self.moment is None:
            problem = self.dashboard.feed.state.problem
            if problem is not None:
                return Drawing(lines=[[], *sentence_lines("critical", problem, "", width)])
            return Drawing(lines=[[], [Span("  Waiting for the first reading …", "dim")]])
        return self.picture(self.moment, width, height)

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """What is to be seen of this moment on so many cells."""
        raise NotImplementedError

    def open_filter(self) -> bool:
        """Let the user type a filter; False where the view has none."""
        return False

    def as_text(self) -> str:
        """What is on the view, for the clipboard."""
        lines = ["".join(span.text for span in line).rstrip() for line in self._lines]
        return "\n".join(lines).rstrip() + "\n"

    def as_data(self) -> object:
        """What is chosen on the view, for the clipboard as JSON; the frame where nothing else is."""
        return self.moment.frame if self.moment is not None else None
