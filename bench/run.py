"""Measures gpuwatch beside its peers on the same fake driver, prints the table and writes bench/results.md."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import an_hour
import dashboard_cost
import http_cost
import running_cost
import scrape_cost
import start_cost
from results import OURS, Figure, report
from stage import ROOT, NotAnsweringError, Stage, set_up


def attempt(name: str, program: str, measure: Callable[[], list[Figure]]) -> list[Figure]:
    """One measurement, or a row that says why there is none."""
    print(f"measuring: {name} of {program}", file=sys.stderr, flush=True)
    try:
        return measure()
    except (NotAnsweringError, subprocess.SubprocessError, OSError, KeyError, TypeError, ValueError) as failure:
        return [Figure(name, program, None, "", note=f"{type(failure).__name__}: {failure}")]


def measure_all(stage: Stage, runs: int, seconds: float, only: set[str]) -> list[Figure]:
    """Every measurement that was asked for, in the order of the table."""
    plan: dict[str, list[tuple[str, str, Callable[[], list[Figure]]]]] = {
        "start": [(start_cost.MEASUREMENT, OURS, lambda: start_cost.measure(stage, runs))],
        "running": [
            ("running cost", OURS, lambda: running_cost.measure_ours(stage, seconds)),
            ("running cost", "nvitop-exporter", lambda: running_cost.measure_peer(stage, seconds)),
        ],
        "http": [("answers", OURS, lambda: http_cost.measure(stage, seconds))],
        "scrape": [("scrapes", OURS, lambda: scrape_cost.measure(stage, seconds))],
        "dashboard": [
            ("first paint", OURS, lambda: dashboard_cost.measure_start(stage, runs)),
            ("dashboard", OURS, lambda: dashboard_cost.measure_running(stage, seconds)),
            ("dashboard, crowded", OURS, lambda: dashboard_cost.measure_crowded(stage, seconds)),
            ("dashboard over hours", OURS, lambda: dashboard_cost.measure_hours(stage)),
        ],
        "hour": [("memory over hours", OURS, lambda: an_hour.measure(stage))],
    }
    chosen = [step for name, steps in plan.items() if not only or name in only for step in steps]
    return [figure for step in chosen for figure in attempt(*step)]


def main() -> int:
    """0: all of ours was measured, whether its targets are met or not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="interleaved runs of each one-shot command")
    parser.add_argument("--seconds", type=float, default=20, help="how long each running program is watched")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=["start", "running", "http", "scrape", "dashboard", "hour"]
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results.md")
    chosen = parser.parse_args()
    with set_up(ROOT / ".bench") as stage:
        figures = measure_all(stage, chosen.runs, chosen.seconds, set(chosen.only))
        text = report(figures, stage.versions())
    chosen.output.write_text(text)
    print(text)
    return int(any(figure.program == OURS and figure.value is None for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
