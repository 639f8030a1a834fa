"""From answers to figures: what was found, what was invented, and how long it took."""

from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct

from evaluation.exam import Answer, Said
from evaluation.labels import NO_CAUSE, Truth

_EARLY_S = 1.0
# What was true a moment ago may be said by a window that still holds it.
_LATE_S = 30.0
_RANKS = {"info": 0, "warning": 1, "critical": 2}
_UNKNOWN = ("unknown", "no cause", "not known", "unexplained", "nothing", "no reason", "no sign")


class Miss(Struct, frozen=True, kw_only=True):
    """A truth that nobody told."""

    answer: Answer
    truth: Truth


class FalseAlarm(Struct, frozen=True, kw_only=True):
    """A warning without a truth."""

    answer: Answer
    said: Said


class Wrong(Struct, frozen=True, kw_only=True):
    """A truth told with the wrong culprit or cause."""

    answer: Answer
    truth: Truth
    said: Said
    what: str


class KindScore(Struct, kw_only=True):
    """One kind over all episodes."""

    kind: str
    truths: int = 0
    found: int = 0
    right: int = 0
    """Warnings that were true."""
    invented: int = 0
    delays_s: list[float] = []
    culprits: int = 0
    causes: int = 0
    causes_asked: int = 0
    false_when_healthy: int = 0

    @property
    def recall(self) -> float | None:
        return self.found / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        said = self.right + self.invented
        return self.right / said if said else None

    @property
    def median_s(self) -> float | None:
        return median(self.delays_s) if self.delays_s else None

    @property
    def worst_s(self) -> float | None:
        return max(self.delays_s) if self.delays_s else None


class Score(Struct, kw_only=True):
    """All kinds, and what to look at."""

    kinds: dict[str, KindScore] = {}
    misses: list[Miss] = []
    false_alarms: list[FalseAlarm] = []
    wrongs: list[Wrong] = []
    episodes: int = 0
    healthy_episodes: int = 0
    healthy_gpu_hours: float = 0.0
    stray_infos: int = 0
    """Remarks below a warning that no truth stands behind."""
    repeats: int = 0
    """Truths that were told, dropped and told again while they lasted."""

    def of(self, kind: str) -> KindScore:
        """The row of one kind."""
        return self.kinds.setdefault(kind, KindScore(kind=kind))

    def total(self, kinds: Iterable[str] | None = None) -> KindScore:
        """Several kinds as one."""
        chosen = [score for kind, score in self.kinds.items() if kinds is None or kind in set(kinds)]
        return KindScore(
            kind="all",
            truths=sum(one.truths for one in chosen),
            found=sum(one.found for one in chosen),
            right=sum(one.right for one in chosen),
            invented=sum(one.invented for one in chosen),
            delays_s=[delay for one in chosen for delay in one.delays_s],
            culprits=sum(one.culprits for one in chosen),
            causes=sum(one.causes for one in chosen),
            causes_asked=sum(one.causes_asked for one in chosen),
            false_when_healthy=sum(one.false_when_healthy for one in chosen),
        )


def score(answers: Sequence[Answer], *, naive: bool = False) -> Score:
    """Judge our findings, or those of the naive rule."""
    result = Score()
    for answer in answers:
        result.episodes += 1
        if answer.healthy:
            result.healthy_episodes += 1
            result.healthy_gpu_hours += answer.gpus * answer.seconds / 3600.0
        said = answer.naive if naive else answer.said
        _weigh_said(result, answer, said)
        _weigh_truths(result, answer, said)
    return result


def _weigh_said(result: Score, answer: Answer, said: Sequence[Said]) -> None:
    for one in said:
        true = any(_speaks_of(one, truth) for truth in answer.truths)
        if one.severity == "info":
            result.stray_infos += not true
            continue
        row = result.of(one.kind)
        if true:
            row.right += 1
            continue
        row.invented += 1
        row.false_when_healthy += answer.healthy
        result.false_alarms.append(FalseAlarm(answer=answer, said=one))


def _weigh_truths(result: Score, answer: Answer, said: Sequence[Said]) -> None:
    for truth in answer.truths:
        if not truth.required:
            continue
        row = result.of(truth.kind)
        row.truths += 1
        heard = [one for one in said if _speaks_of(one, truth) and _RANKS[one.severity] >= _RANKS[truth.least]]
        heard = [one for one in heard if one.until_s >= truth.onset_s]
        if not heard:
            result.misses.append(Miss(answer=answer, truth=truth))
            continue
        result.repeats += len({one.at_s for one in heard}) - 1 if len({one.key for one in heard}) == 1 else 0
        first = min(heard, key=lambda one: _told_s(one, truth))
        row.found += 1
        row.delays_s.append(max(0.0, _told_s(first, truth) - truth.onset_s))
        if _right_culprit(first, truth):
            row.culprits += 1
        else:
            result.wrongs.append(Wrong(answer=answer, truth=truth, said=first, what="culprit"))
        if truth.causes:
            row.causes_asked += 1
            if right_cause(first.cause, first.summary, truth.causes):
                row.causes += 1
            else:
                result.wrongs.append(Wrong(answer=answer, truth=truth, said=first, what="cause"))


def _told_s(one: Said, truth: Truth) -> float:
    return one.at_s if truth.least == "info" or one.warned_s is None else one.warned_s


def _speaks_of(one: Said, truth: Truth) -> bool:
    """Whether a finding is about this truth: its kind, its time, and a GPU of those it concerns."""
    # An info is free: what counts of a warning is when it came to be one, as it is with the GPUs it names.
    at_s = one.at_s if one.warned_s is None else one.warned_s
    if one.kind != truth.kind or at_s < truth.starts_s - _EARLY_S:
        return False
    if truth.ends_s is not None and at_s > truth.ends_s + _LATE_S:
        return False
    return not truth.gpus or bool({*one.gpus} & (truth.gpus | truth.group))


def _right_culprit(one: Said, truth: Truth) -> bool:
    named = frozenset(one.gpus)
    if truth.kind == "tp_imbalance":
        return named == truth.gpus
    return bool(named & truth.gpus) and named <= truth.gpus | truth.group


def right_cause(cause: str | None, summary: str, words: Sequence[str]) -> bool:
    """Whether the cause is named, or none where there is none to be seen."""
    if NO_CAUSE in words:
        return cause is None or any(word in cause.lower() for word in _UNKNOWN)
    text = (cause if cause is not None else summary).lower()
    return any(word in text for word in words)
