from typing import Literal

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


class FindingEvent(Struct, frozen=True, kw_only=True):
    """A finding that was raised, changed its severity, or was cleared."""

    event: Literal["raised", "changed", "cleared"]
    at: float
    finding: Finding
