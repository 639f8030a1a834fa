"""What is sent: one message about all that came, changed and went since the last."""

import time
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.finding import Finding, Severity
from gpuwatch_agent.model.frame import SCHEMA

SIGNS = {"critical": "✖", "warning": "▲", "info": "·"}
RANKS: dict[str, int] = {"info": 0, "warning": 1, "critical": 2}


class Message(Struct, frozen=True, kw_only=True):
    """The body of a webhook's POST; other targets get title and text."""

    schema: int = SCHEMA
    id: str
    """The same at every try: who has seen it needs no second look."""
    about: Literal["findings", "reminder", "test"]
    node: str
    simulated: bool
    at: float
    severity: Severity | None
    """The worst of what is told here as open; null where all of it is over."""
    title: str
    text: str
    raised: list[Finding] = []
    changed: list[Finding] = []
    cleared: list[Finding] = []
    ongoing: list[Finding] = []
    """In a reminder: what was told before and still holds."""


def compose(
    *,
    message_id: str,
    about: Literal["findings", "reminder"],
    node: str,
    simulated: bool,
    at: float,
    raised: Sequence[Finding] = (),
    changed: Sequence[Finding] = (),
    cleared: Sequence[Finding] = (),
    ongoing: Sequence[Finding] = (),
    note: str = "",
) -> Message:
    """Put it into words for a person with a telephone in the hand."""
    named = f"{node} (SIMULATED)" if simulated else node
    open_now = sorted([*raised, *changed, *ongoing], key=lambda finding: (-RANKS[finding.severity], finding.since))
    paragraphs = [
        *(_told("", finding) for finding in _worst_first(raised)),
        *(_told("changed: ", finding) for finding in _worst_first(changed)),
        *(_told("still: ", finding) for finding in _worst_first(ongoing)),
        *(f"over: {finding.summary} (since {_moment(finding.since)})" for finding in cleared),
        *([note] if note else []),
    ]
    return Message(
        id=message_id,
        about=about,
        node=node,
        simulated=simulated,
        at=at,
        severity=open_now[0].severity if open_now else None,
        title=f"{named}: {_title(open_now, cleared, about)}",
        text="\n\n".join(paragraphs),
        raised=list(raised),
        changed=list(changed),
        cleared=list(cleared),
        ongoing=list(ongoing),
    )


def trial_message(*, message_id: str, node: str, simulated: bool, at: float) -> Message:
    """What `gpuwatch notify --test` sends."""
    named = f"{node} (SIMULATED)" if simulated else node
    return Message(
        id=message_id,
        about="test",
        node=node,
        simulated=simulated,
        at=at,
        severity=None,
        title=f"{named}: a test by gpuwatch",
        text=f"gpuwatch on {node} can reach you. Nothing is wrong; somebody ran `gpuwatch notify --test`.",
    )


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (-RANKS[finding.severity], finding.since))


def _title(open_now: Sequence[Finding], cleared: Sequence[Finding], about: str) -> str:
    if not open_now:
        return f"over: {cleared[0].summary}" if len(cleared) == 1 else f"{len(cleared)} findings are over"
    still = "still " if about == "reminder" else ""
    worst = open_now[0]
    more = f" (and {len(open_now) - 1} more)" if len(open_now) > 1 else ""
    return f"{SIGNS[worst.severity]} {still}{worst.severity}: {worst.summary}{more}"


def _told(word: str, finding: Finding) -> str:
    why = f"\nwhy: {finding.cause}" if finding.cause else ""
    return (
        f"{SIGNS[finding.severity]} {word}{finding.summary}\nsince {_moment(finding.since)}{why}\n"
        f"→ {finding.action}\nmore: gpuwatch runbook {finding.kind}"
    )


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(at))
