"""From answers to figures: what was found, what was invented, and how long it took."""

from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct

from evaluation.exam import Answer, Said, Statement
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
    statement: Statement


class Wrong(Struct, frozen=True, kw_only=True):
    """A truth told with the wrong culprit or cause."""

    answer: Answer
    truth: Truth
    said: Said
    statement: Statement
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
    delays: list[tuple[float, Answer, Truth]] = []
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
    """A finding counts once, as right if ever it was and as invented if ever it was: it may change its mind."""
    for one in said:
        warned = [statement for statement in one.statements if statement.severity != "info"]
        if not warned:
            result.stray_infos += not any(_speaks_of(one, statement, answer) for statement in one.statements)
            continue
        row = result.of(one.kind)
        invented = next((statement for statement in warned if not _speaks_of(one, statement, answer)), None)
        row.right += any(_speaks_of(one, statement, answer) for statement in warned)
        if invented is not None:
            row.invented += 1
            row.false_when_healthy += answer.healthy
            result.false_alarms.append(FalseAlarm(answer=answer, said=one, statement=invented))


def _weigh_truths(result: Score, answer: Answer, said: Sequence[Said]) -> None:
    for truth in answer.truths:
        if not truth.required:
            continue
        row = result.of(truth.kind)
        row.truths += 1
        heard = [
            (one, statement)
            for one in said
            for statement, until_s in _with_ends(one)
            if _is_about(one, statement, truth)
            and _RANKS[statement.severity] >= _RANKS[truth.least]
            and until_s >= truth.onset_s
        ]
        if not heard:
            result.misses.append(Miss(answer=answer, truth=truth))
            continue
        if len({one.key for one, _ in heard}) == 1:
            result.repeats += len({one.at_s for one, _ in heard}) - 1
        one, first = min(heard, key=lambda pair: pair[1].at_s)
        row.found += 1
        row.delays_s.append(max(0.0, first.at_s - truth.onset_s))
        result.delays.append((row.delays_s[-1], answer, truth))
        if _right_culprit(first, truth, answer):
            row.culprits += 1
        else:
            result.wrongs.append(Wrong(answer=answer, truth=truth, said=one, statement=first, what="culprit"))
        if truth.causes:
            row.causes_asked += 1
            if right_cause(first.cause, first.summary, truth.causes):
                row.causes += 1
            else:
                result.wrongs.append(Wrong(answer=answer, truth=truth, said=one, statement=first, what="cause"))


def _with_ends(one: Said) -> list[tuple[Statement, float]]:
    ends = [later.at_s for later in one.statements[1:]] + [one.until_s]
    return list(zip(one.statements, ends, strict=True))


def _speaks_of(one: Said, statement: Statement, answer: Answer) -> bool:
    return any(_is_about(one, statement, truth) for truth in answer.truths)


def _is_about(one: Said, statement: Statement, truth: Truth) -> bool:
    """Whether a statement is about this truth: its kind, its time, and a GPU of those it concerns."""
    if one.kind != truth.kind or not _stands_at(truth, statement.at_s):
        return False
    return not truth.gpus or bool({*statement.gpus} & (truth.gpus | truth.group))


def _stands_at(truth: Truth, at_s: float) -> bool:
    """Whether it is true then, or was a moment ago."""
    return at_s >= truth.starts_s - _EARLY_S and (truth.ends_s is None or at_s <= truth.ends_s + _LATE_S)


def _right_culprit(statement: Statement, truth: Truth, answer: Answer) -> bool:
    """Who has it by this truth or another of its kind at that time: what many GPUs share is told in one finding."""
    named = frozenset(statement.gpus)
    if truth.kind == "tp_imbalance":
        return named == truth.gpus
    alike = [one for one in answer.truths if one.kind == truth.kind and _stands_at(one, statement.at_s)]
    return bool(named & truth.gpus) and named <= frozenset().union(
        truth.gpus, truth.group, *(one.gpus | one.group for one in alike)
    )


def right_cause(cause: str | None, summary: str, words: Sequence[str]) -> bool:
    """Whether the cause is named, or none where there is none to be seen."""
    if NO_CAUSE in words:
        return cause is None or any(word in cause.lower() for word in _UNKNOWN)
    text = (cause if cause is not None else summary).lower()
    return any(word in text for word in words)
