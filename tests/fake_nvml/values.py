"""One value as the fake driver reads it: a number, a moving number, words, or an error code."""

import math
from typing import NamedTuple

ALL_ONES_32 = 0xFFFF_FFFF
ALL_ONES_64 = 0xFFFF_FFFF_FFFF_FFFF


class Value(NamedTuple):
    """`base`, plus `rate` a second since the moment `since`, plus a wave."""

    kind: str
    base: float | str
    rate: float = 0.0
    since: float = 0.0
    amplitude: float = 0.0
    period_s: float = 1.0

    def line(self) -> str:
        """What stands behind the key in the scenario file."""
        if isinstance(self.base, str):
            return f"{self.kind} {self.base}"
        if not self.rate and not self.amplitude:
            return f"{self.kind} {self.base}"
        return f"{self.kind} {self.base} {self.rate!r} {self.since!r} {self.amplitude!r} {self.period_s!r}"

    def at(self, now: float) -> float:
        """The number that the driver says at a moment."""
        if isinstance(self.base, str):
            raise TypeError(f"{self.base!r} is no number")
        wave = math.sin(math.tau * (now + self.since) / self.period_s) if self.amplitude else 0.0
        return self.base + self.rate * (now - self.since) + self.amplitude * wave


Settable = int | float | str | Value


def error(code: int) -> Value:
    """This value can't be read: NVML answers the code instead."""
    return Value("e", code)


def counter(base: int, rate: float, since: float, kind: str = "U") -> Value:
    """A counter that grows by `rate` a second; kind "u" wraps at 32 bits."""
    return Value(kind, base, rate=rate, since=since)


def wave(base: float, amplitude: float, period_s: float, phase_s: float = 0.0) -> Value:
    """A number that sways a little, as the readings of a working board do."""
    return Value("U", base, since=phase_s, amplitude=amplitude, period_s=period_s)


def value_of(given: Settable, kind: str = "U") -> Value:
    """Any way of giving a value, as a value."""
    if isinstance(given, Value):
        return given._replace(kind=kind) if given.kind == "U" else given
    if isinstance(given, str):
        return Value("s", given)
    if isinstance(given, float):
        return Value("d", given)
    return Value("I" if given < 0 and kind == "U" else kind, given)
