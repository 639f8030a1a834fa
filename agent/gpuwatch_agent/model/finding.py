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
