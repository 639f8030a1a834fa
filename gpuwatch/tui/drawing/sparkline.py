"""A short past in one line of cells. Cells stand for fixed stretches of time: only the newest changes from second to second."""

from collections.abc import Sequence
from math import isnan

_EIGHTHS = "▁▂▃▄▅▆▇█"
_ASCII = "__..--=#"
GAP = "·"


def bucket_means(values: Sequence[float], newest_at: float, seconds_a_cell: int, cells: int) -> list[float | None]:
    """The means of stretches that begin at multiples of their length, the newest last and perhaps not full yet."""
    in_newest = int(newest_at) % seconds_a_cell + 1
    means: list[float | None] = []
    end = len(values)
    size = in_newest
    while end > 0 and len(means) < cells:
        known = [value for value in values[max(end - size, 0) : end] if not isnan(value)]
        means.append(sum(known) / len(known) if known else None)
        end -= size
        size = seconds_a_cell
    means += [None] * (cells - len(means))
    return means[::-1]


def sparkline(means: Sequence[float | None], low: float, high: float) -> str:
    """One cell a mean, on a scale that does not move with the values; what is missing is a dot."""
    span = max(high - low, 1e-9)
    return "".join(GAP if mean is None else _EIGHTHS[min(max(int((mean - low) / span * 8), 0), 7)] for mean in means)


def ascii_sparkline(text: str) -> str:
    """The same for terminals without block letters."""
    return text.translate(str.maketrans(_EIGHTHS, _ASCII))
