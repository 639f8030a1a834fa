"""One episode through the real pipeline: history, engine, detectors, on a clock that is only counted."""

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


class Statement(Struct, frozen=True, kw_only=True):
    """What a finding said for a while: who, why, and how bad."""

    at_s: float
    gpus: list[int]
    severity: Severity
    cause: str | None
    summary: str

    def is_same(self, finding: Finding) -> bool:
        """Whether a reader would see no difference but in the numbers."""
        return (self.gpus, self.cause, self.severity) == (finding.gpus, finding.cause, finding.severity)


class Said(Struct, kw_only=True):
    """One finding from its first second to its last, with all it said: it may change its mind about who and why."""

    kind: str
    key: str | None
    at_s: float
    until_s: float
    statements: list[Statement]

    @property
    def gpus(self) -> list[int]:
        return self.statements[0].gpus


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
                one = Said(kind=finding.kind, key=finding.key, at_s=second, until_s=second, statements=[])
                self._open[place] = one
                self.said.append(one)
            one.until_s = second
            if not one.statements or not one.statements[-1].is_same(finding):
                one.statements.append(
                    Statement(
                        at_s=second,
                        gpus=finding.gpus,
                        severity=finding.severity,
                        cause=finding.cause,
                        summary=finding.summary,
                    )
                )


def sit(
    episode: Episode, detectors: Sequence[Detector[Any]] = DETECTORS, naive: Sequence[Detector[Any]] = ()
) -> Answer:
    """Play the episode to the detectors, and to the naive ones beside them."""
    world = episode.world
    history = History(seconds=3600)
    ours = Engine(world.config, history, detectors=detectors, topology=world.topology)
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
