"""The figures in words and tables, for the screen and for docs/evaluation.md."""

import math
from collections.abc import Sequence

from msgspec import Struct

from evaluation.exam import Answer
from evaluation.judge_cost import JudgeCost
from evaluation.scoring import KindScore, Score, score
from evaluation.seeds import in_words

THROTTLES = ("thermal_throttle", "power_throttle", "power_brake", "hw_slowdown")
IMBALANCES = ("tp_imbalance",)


class Conditions(Struct, frozen=True, kw_only=True):
    """Under which the exam was held."""

    date: str
    seed: int
    command: str
    revision: str
    minutes: float


def table(scored: Score) -> list[str]:
    """One row a kind."""
    lines = [
        "| kind | asked | recall | precision | median s | worst s | false alarms /1,000 GPU-h | right culprit | right cause |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = sorted(scored.kinds.values(), key=lambda row: row.kind)
    for row in [*rows, scored.total()]:
        name = f"**{row.kind}**" if row.kind == "all" else f"`{row.kind}`"
        lines.append(
            f"| {name} | {row.truths} | {_part(row.recall)} | {_part(row.precision)} | {_seconds(row.median_s)} | "
            f"{_seconds(row.worst_s)} | {_rate(row, scored)} | {_of(row.culprits, row.found)} | "
            f"{_of(row.causes, row.causes_asked)} |"
        )
    return lines


def targets(ours: Score, costs: Sequence[JudgeCost]) -> list[str]:
    """The bars, and where we stand."""
    everything, throttles, imbalances = ours.total(), ours.total(THROTTLES), ours.total(IMBALANCES)
    hours = ours.healthy_gpu_hours
    rows = [
        ("recall", "≥ 0.97", _part(everything.recall), _at_least(everything.recall, 0.97)),
        ("precision", "≥ 0.97", _part(everything.precision), _at_least(everything.precision, 0.97)),
        ("right culprit", "≥ 0.95", _of(everything.culprits, everything.found), _share(everything.culprits, everything.found, 0.95)),
        ("right cause", "≥ 0.90", _of(everything.causes, everything.causes_asked), _share(everything.causes, everything.causes_asked, 0.9)),
        ("throttling found, worst", "≤ 15 s", _seconds(throttles.worst_s) + " s", _at_most(throttles.worst_s, 15.0)),
        ("imbalance found, median", "≤ 60 s", _seconds(imbalances.median_s) + " s", _at_most(imbalances.median_s, 60.0)),
        ("imbalance found, worst", "≤ 60 s", _worst(imbalances, 60.0), _at_most(imbalances.worst_s, 60.0)),
        (
            "false alarms in healthy load",
            "≤ 1 per 1,000 GPU-h",
            f"{everything.false_when_healthy} in {hours:.0f} GPU-h",
            _at_most(everything.false_when_healthy / hours * 1000.0 if hours else None, 1.0),
        ),
        *(
            (f"one judgement, {cost.case}", f"≤ {cost.bar_ms:g} ms", f"{cost.median_ms:.2f} ms (worst {cost.worst_ms:.1f})", _at_most(cost.median_ms, cost.bar_ms))
            for cost in costs
        ),
    ]  # fmt: skip
    return ["| what | bar | here | |", "|---|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]


def families(answers: Sequence[Answer]) -> list[str]:
    """How many episodes of what there were."""
    counted: dict[str, int] = {}
    for answer in answers:
        counted[answer.name] = counted.get(answer.name, 0) + 1
    return [f"{name} ({count})" for name, count in counted.items()]


def trouble(scored: Score, most: int) -> list[str]:
    """What went wrong, each with the word that plays it again."""
    lines = [f"Missed: {len(scored.misses)}"]
    for miss in scored.misses[:most]:
        truth = miss.truth
        cost = f", cost {truth.cost:.0%}" if truth.cost is not None else ""
        lines.append(
            f"  {miss.answer.seed}: {truth.kind} of GPU {_list(truth.gpus)} by {truth.fault} from {truth.onset_s:.0f} s{cost}"
        )
    slow = sorted(scored.delays, key=lambda one: -one[0])[:12]
    lines.append(
        "Slowest: " + "; ".join(f"{delay:.0f} s {truth.kind} in {answer.seed}" for delay, answer, truth in slow)
    )
    lines.append(f"False alarms: {len(scored.false_alarms)}")
    for alarm in scored.false_alarms[:most]:
        said = alarm.statement
        well = "healthy" if alarm.answer.healthy else "faulty"
        lines.append(
            f"  {alarm.answer.seed} ({well}): {alarm.said.kind} {said.gpus} {said.severity} at {said.at_s:.0f} s: {said.summary}"
        )
    lines.append(f"Wrong culprit or cause: {len(scored.wrongs)}")
    lines += [
        f"  {wrong.answer.seed}: {wrong.what}: true {_list(wrong.truth.gpus)} by {wrong.truth.fault}; said at "
        f"{wrong.statement.at_s:.0f} s {wrong.statement.gpus}, cause {wrong.statement.cause!r}; at last "
        f"{wrong.said.statements[-1].gpus}, {wrong.said.statements[-1].cause!r}"
        for wrong in scored.wrongs[:most]
    ]
    return lines


def document(
    answers: Sequence[Answer], costs: Sequence[JudgeCost], held: Conditions, preface: str, other_runs: str = ""
) -> str:
    """docs/evaluation.md."""
    ours, naive = score(answers), score(answers, naive=True)
    parts = [
        preface.strip(),
        "## The figures",
        held_under(ours, answers, held),
        "\n".join(targets(ours, costs)),
        rate_in_words(ours),
        _beside(ours),
        "### gpuwatch",
        "\n".join(table(ours)),
        "### The naive rule",
        "\n".join(table(naive)),
        "### Episodes",
        ", ".join(families(answers)) + ".",
        "### What went wrong",
        "\n".join(("```text", *trouble(ours, 40), "```")),
        other_runs,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def held_under(ours: Score, answers: Sequence[Answer], held: Conditions) -> str:
    """When, with what, how much."""
    hours = sum(answer.gpus * answer.seconds for answer in answers) / 3600.0
    return (
        f"{held.date}, revision {held.revision}: {len(answers)} episodes, {hours:.0f} GPU-hours, of which "
        f"{ours.healthy_episodes} episodes and {ours.healthy_gpu_hours:.0f} GPU-hours healthy; seed {held.seed}; "
        f"{held.minutes:.1f} minutes. To repeat it: `{held.command}`. {in_words(held.seed)}"
    )


def _beside(ours: Score) -> str:
    return (
        f"Remarks below a warning without a fault behind them: {ours.stray_infos}. Of the true findings, {ours.repeats} were "
        "dropped and said again while the fault lasted."
    )


def rate_in_words(ours: Score) -> str:
    """What so many alarms in so many hours prove of the true rate, and what they can't."""
    hours, alarms = ours.healthy_gpu_hours, ours.total().false_when_healthy
    if not hours:
        return "No healthy load was played, so nothing is known of false alarms."
    most = most_events(alarms) / hours * 1000.0
    return (
        f"False alarms in healthy load: {alarms} in {hours:,.0f} GPU-hours, {alarms / hours * 1000.0:.2f} in 1,000. With 95 % "
        f"confidence the true rate is at most {most:.1f} in 1,000 GPU-hours"
        + (", which proves the bar." if most <= 1.0 else ": fewer hours than it takes to prove 1 in 1,000.")
    )


def most_events(seen: int, confidence: float = 0.95) -> float:
    """The largest mean of a Poisson process that still shows so few events with a chance of 1 - `confidence`."""
    low, high = 0.0, 10.0 * (seen + 1)
    for _ in range(80):
        middle = (low + high) / 2.0
        term = chance = math.exp(-middle)
        for count in range(1, seen + 1):
            term *= middle / count
            chance += term
        low, high = (middle, high) if chance > 1.0 - confidence else (low, middle)
    return high


def _worst(row: KindScore, bar_s: float) -> str:
    late = sum(delay > bar_s for delay in row.delays_s)
    return f"{_seconds(row.worst_s)} s ({late} of {len(row.delays_s)} later)"


def _part(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _of(part: int, whole: int) -> str:
    return "–" if not whole else f"{part / whole:.3f}"


def _rate(row: KindScore, scored: Score) -> str:
    hours = scored.healthy_gpu_hours
    return f"{row.false_when_healthy / hours * 1000.0:.1f}" if hours else "–"


def _list(gpus: frozenset[int]) -> str:
    return ", ".join(str(gpu) for gpu in sorted(gpus))


def _at_least(value: float | None, bar: float) -> str:
    return "met" if value is not None and value >= bar else "**not met**"


def _at_most(value: float | None, bar: float) -> str:
    return "met" if value is not None and value <= bar else "**not met**"


def _share(part: int, whole: int, bar: float) -> str:
    return _at_least(part / whole if whole else None, bar)
