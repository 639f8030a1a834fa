"""Real ranks over gloo: what they measure, what they find wrong, and what becomes of them when they are killed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from gpuwatch_agent.probes.allreduce import AllReduceRun, Progress
from gpuwatch_agent.probes.plan import Step
from gpuwatch_agent.probes.result import AllReduceResult
from support.probes import plan, probe_processes, with_torch

pytestmark = with_torch

# Rank 1 works longer than rank 0, and one element of what it gets is off by one.
FAULTY = """
import os, time, torch
from torch import distributed
from gpuwatch_agent.probes.workers import allreduce
if os.environ["RANK"] == "1":
    product, reduce = torch.mm, distributed.all_reduce
    def slow(*factors):
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        return product(*factors)
    def corrupting(tensor, **options):
        reduce(tensor, **options)
        if not options:
            tensor[7] += 1
    torch.mm, distributed.all_reduce = slow, corrupting
allreduce.main()
"""


def environ_of(folder: Path) -> dict[str, str]:
    """As inside another job, which has set where its own ranks meet: an address that nobody here has."""
    return {**os.environ, "OF_TEST": str(folder), "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1", "WORLD_SIZE": "8"}


def test_figures_are_those_of_an_independent_calculation(tmp_path: Path) -> None:
    """Sizes, exact sums, and bandwidth by the definition, from the bytes and the time that a call took."""
    told: list[Progress] = []
    steps = [Step(bytes=4096, iterations=120, warmup=5), Step(bytes=1 << 20, iterations=10, warmup=2)]
    two = plan(on_cpu=True, steps=steps, dtypes=["float32", "bfloat16"])
    result = asyncio.run(AllReduceRun(two, node="n", environ=environ_of(tmp_path), on_progress=told.append).run())
    assert (result.state, result.problem, result.comparable) == ("done", None, False)
    assert result.verdict.startswith("CPU, not comparable: 2 ranks over gloo reach ")
    assert [(row.dtype, row.bytes) for row in result.results] == [
        (dtype, size) for dtype in ("float32", "bfloat16") for size in (4096, 1 << 20)
    ]
    for row in result.results:
        assert row.wrong == 0
        nanoseconds = row.time_us * 1000
        assert row.algbw_gb_per_s == pytest.approx(row.bytes / nanoseconds)
        # Two ranks send each half and get each half: as many bytes over the bus as the message has.
        assert row.busbw_gb_per_s == pytest.approx(row.bytes / nanoseconds)
        assert row.latency_us_p50 > 0
        assert (row.latency_us_p99 is None) == (row.iterations < 100)
        assert row.iterations * row.time_us / 1e6 < result.finished_at - result.started_at
    assert [one.rank for one in result.rank_times] == [0, 1]
    measured = [progress.percent for progress in told if progress.bytes is not None]
    assert measured == sorted(measured)
    assert told[-1].phase == "ranks"
    assert probe_processes(str(tmp_path)) == set()


def test_a_slow_rank_and_wrong_sums_show(tmp_path: Path) -> None:
    """A rank that takes longer is named, and one element off by one fails the run."""
    script = tmp_path / "faulty.py"
    script.write_text(FAULTY)
    two = plan(on_cpu=True, steps=[Step(bytes=4096, iterations=20, warmup=2)])
    run = AllReduceRun(two, node="n", environ=environ_of(tmp_path), worker=[str(script)])
    result = asyncio.run(run.run())
    assert [row.wrong for row in result.results] == [1], result.stderr
    assert result.passed is False
    assert "first with 4 KiB (1 elements)" in result.verdict
    assert result.late_rank is not None
    assert (result.late_rank.rank, result.late_rank.gpu) == (1, None)
    assert "Rank 1 takes" in result.verdict


def test_a_rank_that_is_killed_ends_the_run_with_what_was_measured(tmp_path: Path) -> None:
    """A kill -9 on rank 1 in the middle: named, the sizes before it kept, nothing left."""
    many = [Step(bytes=1024 << place, iterations=50, warmup=2) for place in range(10)]
    two = plan(on_cpu=True, steps=many)

    def kill_once(progress: Progress) -> None:
        if progress.bytes == many[3].bytes:
            os.kill(_rank_one(tmp_path), signal.SIGKILL)

    run = AllReduceRun(two, node="n", environ=environ_of(tmp_path), on_progress=kill_once)
    result: AllReduceResult = asyncio.run(run.run())
    assert result.problem is not None
    assert (result.state, result.problem.kind, result.passed) == ("partial", "rank_killed", None), result.stderr
    assert "Rank 1 was killed from outside." in result.verdict
    assert [row.bytes for row in result.results][:3] == [step.bytes for step in many[:3]]
    assert probe_processes(str(tmp_path)) == set()
    assert msgspec.json.decode(msgspec.json.encode(result), type=AllReduceResult) == result


def _rank_one(folder: Path) -> int:
    return next(
        pid
        for pid in probe_processes(str(folder))
        if b"\0RANK=1\0" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    )


def test_the_agents_own_process_never_has_torch() -> None:
    """A whole run was planned and listened to, and torch was only ever in the ranks."""
    assert "torch" not in sys.modules
