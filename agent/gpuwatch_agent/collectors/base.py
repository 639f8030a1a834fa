"""What a collector is: one subject of one GPU, read at its tier's pace, given under the names of the model."""

from typing import ClassVar, Protocol

from msgspec import Struct, field

from gpuwatch_agent.hardware.base import Device, RawReading, Tier
from gpuwatch_agent.model.absence import Absence


class Collected(Struct):
    """Values by field of `Gpu` (`power_w`, or `pcie.gen` for a field of a part), and why the others are absent."""

    values: dict[str, object] = field(default_factory=dict)
    absent: dict[str, Absence] = field(default_factory=dict)


class Collector(Protocol):
    """One instance per GPU, so that it may remember the reading before."""

    name: ClassVar[str]
    tier: ClassVar[Tier]
    fields: ClassVar[tuple[str, ...]]
    """What it answers for: these turn absent, with a reason, when it fails."""

    def collect(self, device: Device, now: float) -> Collected:
        """Read the subject; `now` is monotonic seconds."""


def as_read(reading: RawReading, fields: tuple[str, ...], prefix: str = "") -> Collected:
    """A reading whose names are the model's own, under an optional part's name."""
    collected = Collected()
    for name in fields:
        value = getattr(reading, name)
        path = prefix + name
        if value is not None:
            collected.values[path] = value
        elif (reason := reading.absent.get(name)) is not None:
            collected.absent[path] = reason
    return collected
