import re
from typing import Literal, Protocol

from msgspec import Struct

Severity = Literal["info", "warning", "critical"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong, said so that a person can act on it."""

    kind: str
    severity: Severity
    gpus: list[int]
    since: float
    summary: str
    cause: str | None = None
    evidence: dict[str, float | int | str | None] = {}
    action: str
    key: str | None = None
    """What tells this finding from others of its kind: a GPU's UUID, or a group."""
    runbook: str | None = None
    """The page that says what it means, how to confirm it and what to do."""


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Told(Protocol):
    """What a person acts on."""

    @property
    def gpus(self) -> list[int]:
        """Whom it names."""

    @property
    def cause(self) -> str | None:
        """And why."""


def tells_the_same(one: Told, other: Told) -> bool:
    """Whether both name the same GPUs and the same cause, apart from mere numbers such as degrees and watts."""
    return set(one.gpus) == set(other.gpus) and _without_numbers(one.cause) == _without_numbers(other.cause)


def _without_numbers(text: str | None) -> str | None:
    return _NUMBER.sub("#", text) if text is not None else None


class FindingEvent(Struct, frozen=True, kw_only=True):
    """A finding that was raised, changed its severity, its GPUs or its cause, or was cleared."""

    event: Literal["raised", "changed", "cleared"]
    at: float
    finding: Finding
