"""One episode through the real pipeline: history, engine, detectors, on a clock that is only counted."""

import inspect
from collections.abc import Sequence
from time import process_time
from typing import Any

from msgspec import Struct

from evaluation.labels import Episode, Truth
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding, Severity


class Said(Struct, kw_only=True):
    """One finding, from its first second to its last."""

    kind: str
    key: str | None
    gpus: list[int]
    """As of the moment it was raised, as all that is not marked otherwise."""
    summary: str
    cause: str | None
    severity: Severity
    """The worst it came to be."""
    at_s: float
    warned_s: float | None
    """When it first was more than an info."""
    until_s: float
    last_gpus: list[int]
    last_cause: str | None
    last_summary: str


class Answer(Struct, frozen=True, kw_only=True):
    """What was said in one episode, beside what was true."""

    name: str
    seed: str
    healthy: bool
    gpus: int
    seconds: int
    truths: list[Truth]
    said: list[Said]
    naive: list[Said]
    errors: dict[str, str]
    judge_s: float
    """Processor time of all judgements."""


class _Listener:
    """Follows one engine's findings over the episode."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._open: dict[tuple[str, str | None], Said] = {}

    def hear(self, findings: Sequence[Finding], second: float) -> None:
        """The findings of this second."""
        now = {(finding.kind, finding.key): finding for finding in findings}
        for ended in [place for place in self._open if place not in now]:
            del self._open[ended]
        for place, finding in now.items():
            one = self._open.get(place)
            if one is None:
                one = self._open[place] = _said(finding, second)
                self.said.append(one)
            one.until_s = second
            one.last_gpus, one.last_cause, one.last_summary = finding.gpus, finding.cause, finding.summary
            if finding.severity != "info":
                if one.warned_s is None:
                    # What it says when it first wakes somebody is what counts.
                    one.warned_s = second
                    one.gpus, one.cause, one.summary = finding.gpus, finding.cause, finding.summary
                if one.severity != "critical":
                    one.severity = finding.severity


def _said(finding: Finding, second: float) -> Said:
    return Said(
        kind=finding.kind,
        key=finding.key,
        gpus=finding.gpus,
        summary=finding.summary,
        cause=finding.cause,
        severity=finding.severity,
        at_s=second,
        warned_s=None,
        until_s=second,
        last_gpus=finding.gpus,
        last_cause=finding.cause,
        last_summary=finding.summary,
    )


def sit(
    episode: Episode, detectors: Sequence[Detector[Any]] = DETECTORS, naive: Sequence[Detector[Any]] = ()
) -> Answer:
    """Play the episode to the detectors, and to the naive ones beside them."""
    world = episode.world
    history = History(seconds=3600)
    more: dict[str, Any] = {"topology": world.topology} if "topology" in inspect.signature(Engine).parameters else {}
    ours = Engine(world.config, history, detectors=detectors, **more)
    theirs = Engine(world.config, history, detectors=naive)
    hears, overhears = _Listener(), _Listener()
    spent = 0.0
    for second, frame in world.play():
        history.append(frame, second)
        began = process_time()
        judged = ours.judge(frame, second)
        spent += process_time() - began
        hears.hear(judged.findings, second)
        if naive:
            overhears.hear(theirs.judge(frame, second).findings, second)
    return Answer(
        name=episode.name,
        seed=episode.seed,
        healthy=episode.healthy,
        gpus=world.gpus,
        seconds=world.seconds,
        truths=world.truths(),
        said=hears.said,
        naive=overhears.said,
        errors=dict(ours.errors),
        judge_s=spent,
    )
