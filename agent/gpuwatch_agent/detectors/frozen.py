"""Sensors that have stopped reading: they go on showing the last value, which is true of no later second."""

from collections.abc import Sequence
from math import nan
from operator import eq

# A sensor that shows the very same milliwatts for so long while its siblings' move has stopped reading.
_FROZEN_S = 8


def without_frozen(columns: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Stretches in which one sensor stands still while most others move become gaps; where most stand still it is the load."""
    frozen = [_frozen_places(column) for column in columns]
    if not any(frozen):
        return list(columns)
    cleaned: list[Sequence[float]] = []
    for own, column in zip(frozen, columns, strict=True):
        others = [places for places in frozen if places is not own]
        gone = {place for place in own if 2 * sum(place in places for places in others) < len(others)}
        cleaned.append([nan if place in gone else value for place, value in enumerate(column)] if gone else column)
    return cleaned


def _frozen_places(values: Sequence[float]) -> set[int]:
    # A stretch that is long enough holds two equal values so far apart: most columns hold none, and are done with.
    apart = _FROZEN_S // 2
    if not any(map(eq, values[:-apart:apart], values[apart::apart])):
        return set()
    found: set[int] = set()
    run: list[int] = []
    held = nan
    for place, value in enumerate(values):
        if value == held:
            run.append(place)
            continue
        if value != value:  # noqa: PLR0124  # NaN: a gap does not end a run
            continue
        if len(run) >= _FROZEN_S:
            found.update(run)
        run, held = [place], value
    if len(run) >= _FROZEN_S:
        found.update(run)
    return found
