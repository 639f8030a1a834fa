"""Runs beside the main one, kept in docs/evaluation.md: another seed, or only what is healthy, for longer."""

from collections.abc import Sequence
from pathlib import Path

from evaluation.exam import Answer
from evaluation.judge_cost import JudgeCost
from evaluation.report import Conditions, held_under, rate_in_words, targets, trouble
from evaluation.scoring import score

HEADING = "## Other runs"
_INTRODUCTION = "Written by `--beside`, and kept when the figures above are written anew."


def kept(page: str) -> str:
    """The other runs that stand on a page already; empty where there are none."""
    _, heading, runs = page.partition(HEADING)
    return (heading + runs).rstrip() if heading else ""


def add_run(path: Path, title: str, answers: Sequence[Answer], costs: Sequence[JudgeCost], held: Conditions) -> None:
    """Write one run down on the page, in the place of an older one with its title."""
    page = path.read_text() if path.exists() else ""
    before, _, runs = page.partition(HEADING)
    entries = [entry for entry in runs.split("\n### ")[1:] if not entry.startswith(f"{title}\n")]
    entries.append(_entry(title, answers, costs, held))
    parts = [before.rstrip(), "", HEADING, "", _INTRODUCTION]
    for entry in entries:
        parts += ["", f"### {entry.rstrip()}"]
    path.write_text("\n".join(parts) + "\n")


def _entry(title: str, answers: Sequence[Answer], costs: Sequence[JudgeCost], held: Conditions) -> str:
    ours = score(answers)
    everything = ours.total()
    lines = [title, "", held_under(ours, answers, held), ""]
    if everything.truths:
        lines += [*targets(ours, costs), ""]
    lines += [rate_in_words(ours), "", "```text", *trouble(ours, 40), "```"]
    return "\n".join(lines)
