"""A stretch of time on so many cells, with the moment that is shown marked in it."""

from typing import NamedTuple

from gpuwatch.tui.drawing.sparkline import bucket_means
from gpuwatch.tui.moment import Moment


class Window(NamedTuple):
    """From when to when, and how long a cell is."""

    end: float
    seconds_a_cell: int
    cells: int

    @property
    def start(self) -> float:
        """When the first cell begins."""
        return self.end - self.seconds_a_cell * self.cells

    def column(self, at: float) -> int | None:
        """The cell of that time; None outside."""
        # Cells begin at multiples of their length, the last one being the one that holds the end.
        last = int(self.end) // self.seconds_a_cell
        column = self.cells - 1 - (last - int(at) // self.seconds_a_cell)
        return column if 0 <= column < self.cells else None

    def time(self, column: int) -> float:
        """When that cell ends, at most the window's end."""
        last = int(self.end) // self.seconds_a_cell
        return min((last - (self.cells - 1 - column) + 1) * self.seconds_a_cell - 1, self.end)


def window_of(moment: Moment, seconds: float, cells: int) -> Window:
    """The newest stretch of that length; an older one where the moment shown lies before it."""
    seconds_a_cell = max(1, -(-int(seconds) // max(cells, 1)))
    length = seconds_a_cell * cells
    end = moment.newest_at
    if moment.frame.taken_at < end - length:
        end = min(moment.frame.taken_at + length / 2, moment.newest_at)
    return Window(end, seconds_a_cell, cells)


def means_in(moment: Moment, uuid: str, metric: str, window: Window) -> list[float | None]:
    """The metric's means on the window's cells."""
    behind = max(0, round(moment.newest_at - window.end))
    wanted = window.seconds_a_cell * (window.cells + 1)
    values = moment.history.recent(uuid, metric, wanted + behind)
    values = values[: len(values) - behind] if behind else values
    return bucket_means(values, window.end, window.seconds_a_cell, window.cells)
