"""The exam's command line: hold it, print it, write it down; or play one episode again and listen."""

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from evaluation.corpus import DEFAULT_EPISODES, DEFAULT_SEED, build, plan
from evaluation.exam import Answer, sit
from evaluation.judge_cost import JudgeCost, judge_costs
from evaluation.naive import NAIVE
from evaluation.other_runs import add_run, kept
from evaluation.preface import PREFACE
from evaluation.report import Conditions, document, table, targets, trouble
from evaluation.scoring import score

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the exam was held, passed or not."""
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__)
    parser.add_argument("--episodes", type=int, default=DEFAULT_EPISODES)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--processes", type=int, default=min(2, multiprocessing.cpu_count()))
    parser.add_argument("--only", default="", help="families that hold this word")
    parser.add_argument("--again", default="", metavar="NAME#NUMBER", help="play one episode and print what was said")
    parser.add_argument("--output", type=Path, help="write the document here, as docs/evaluation.md")
    parser.add_argument(
        "--beside", metavar="TITLE", help="with --output: write it as one of the other runs on that page"
    )
    parser.add_argument("--most", type=int, default=40, help="how many of each sort of error to print")
    chosen = parser.parse_args(arguments)
    if chosen.again:
        return _again(chosen.again)
    # Asked before the exam: who works on the code meanwhile changes nothing of what is held.
    revision = _revision()
    began = time.monotonic()
    answers = hold(chosen.episodes, chosen.seed, chosen.processes, chosen.only)
    minutes = (time.monotonic() - began) / 60.0
    costs = judge_costs()
    _print(answers, costs, chosen.most)
    if chosen.output is not None:
        _write(chosen, answers, costs, minutes, revision)
    return 0


def _write(
    chosen: argparse.Namespace, answers: Sequence[Answer], costs: Sequence[JudgeCost], minutes: float, revision: str
) -> None:
    only = f" --only {chosen.only}" if chosen.only else ""
    held = Conditions(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seed=chosen.seed,
        command=f"python bench/evaluate.py --episodes {chosen.episodes} --seed {chosen.seed}{only}",
        revision=revision,
        minutes=minutes,
    )
    page: Path = chosen.output
    if chosen.beside:
        add_run(page, chosen.beside, answers, costs, held)
    else:
        other_runs = kept(page.read_text()) if page.exists() else ""
        page.write_text(document(answers, costs, held, PREFACE, other_runs))


def hold(episodes: int, seed: int, processes: int, only: str = "") -> list[Answer]:
    """All episodes, in the order of the plan."""
    return sit_all([one for one in plan(episodes, seed) if only in one[0]], processes)


def sit_all(planned: Sequence[tuple[str, int]], processes: int) -> list[Answer]:
    """These episodes, each by itself, on so many cores."""
    if processes <= 1:
        return [_answer(one) for one in planned]
    # Spawned, not forked: whoever calls may have threads.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        answers = []
        for done, answer in enumerate(pool.imap(_answer, planned, chunksize=2), 1):
            answers.append(answer)
            if done % 50 == 0:
                print(f"{done} of {len(planned)} episodes", file=sys.stderr, flush=True)
        return answers


def _answer(planned: tuple[str, int]) -> Answer:
    return sit(build(*planned), naive=NAIVE)


def _print(answers: Sequence[Answer], costs: Sequence[JudgeCost], most: int) -> None:
    ours, naive = score(answers), score(answers, naive=True)
    judged = sum(answer.seconds for answer in answers)
    mean_ms = sum(answer.judge_s for answer in answers) / judged * 1000.0 if judged else 0.0
    failed = {kind: said for answer in answers for kind, said in answer.errors.items()}
    print("\n".join(targets(ours, costs)))
    print(
        f"\n{len(answers)} episodes, {mean_ms:.2f} ms a judgement on average; stray infos {ours.stray_infos}, ", end=""
    )
    print(f"repeats {ours.repeats}; failed detectors: {failed or 'none'}\n")
    print("\n".join(table(ours)))
    print("\nthe naive rule\n")
    print("\n".join(table(naive)))
    print()
    print("\n".join(trouble(ours, most)))


def _again(word: str) -> int:
    name, _, number = word.rpartition("#")
    answer = sit(build(name, int(number)), naive=NAIVE)
    print(
        f"{word}: {answer.gpus} GPUs, {answer.seconds} s, {answer.judge_s / answer.seconds * 1000:.2f} ms a judgement"
    )
    for truth in answer.truths:
        must = "must" if truth.required else "may"
        ends = f"{truth.ends_s:.0f}" if truth.ends_s is not None else "the end"
        cost = f", cost {truth.cost:.1%}" if truth.cost is not None else ""
        print(
            f"  {must} be said: {truth.kind} {sorted(truth.gpus)} from {truth.onset_s:.0f} to {ends}{cost} ({truth.fault})"
        )
    for one in answer.said:
        print(f"  {one.kind} from {one.at_s:.0f} to {one.until_s:.0f} s:")
        for said in one.statements:
            print(f"    {said.at_s:4.0f} {said.severity} {said.gpus}: {said.summary} [{said.cause}]")
    for kind, error in answer.errors.items():
        print(f"  {kind} failed: {error}")
    return 0


def _revision() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"
