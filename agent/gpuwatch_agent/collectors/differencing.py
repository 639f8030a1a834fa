"""Rates out of counters."""

from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.model.absence import Absence

# Closer together than this, two readings say more of the clock than of the counter.
_MIN_GAP_S = 0.02


class Differencer:
    """The rate of one counter between two readings; a counter that went back gives no rate that time."""

    def __init__(self) -> None:
        self._value: int | None = None
        self._at = 0.0
        self._rate: float | None = None

    def rate(self, value: int, now: float, wraps_at: int | None = None, fastest: float | None = None) -> float | None:
        """Units per second since the reading before, `None` at the first.

        `fastest` is what the counter can do at most in a second: one that could have wrapped more than once in
        between can't be trusted, whatever it says.
        """
        before, since = self._value, self._at
        gap = now - since
        if before is not None and gap < _MIN_GAP_S:
            return self._rate
        self._value, self._at = value, now
        self._rate = None
        if before is None:
            return None
        step = value - before
        may_wrap_unseen = wraps_at is not None and fastest is not None and fastest * gap >= wraps_at
        if may_wrap_unseen:
            return None
        if step < 0 and wraps_at is not None and fastest is not None:
            step += wraps_at
        rate = step / gap
        self._rate = rate if rate >= 0 and (fastest is None or rate <= fastest) else None
        return self._rate

    def forget(self) -> None:
        """Start afresh, as after a gap in the readings."""
        self._value = None


def note_rate(collected: Collected, path: str, rate: float | None, refusal: Absence | None) -> None:
    """A rate under its path, or why there is none yet."""
    if rate is not None:
        collected.values[path] = rate
    else:
        collected.absent[path] = refusal or Absence.SECOND_READING
