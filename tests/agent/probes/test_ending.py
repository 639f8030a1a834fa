"""However a probe ends, it is said in a sentence and nothing is left running: with children that fail on purpose."""

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwatch_agent.probes.allreduce import AllReduceRun, Progress
from gpuwatch_agent.probes.child import Patience
from gpuwatch_agent.probes.result import AllReduceResult
from support.fake_torch import fake_torch
from support.probes import plan, probe_processes

LONG = Patience(deadline_s=30.0)


def run_of(
    folder: Path,
    ranks: str,
    *,
    patience: Patience = LONG,
    on_cpu: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> AllReduceRun:
    environ = {**fake_torch(folder, ranks), "OF_TEST": str(folder)}
    two = plan(on_cpu=on_cpu)
    return AllReduceRun(two, node="n", environ=environ, patience=patience, on_progress=on_progress)


def measured(folder: Path, ranks: str, *, patience: Patience = LONG, on_cpu: bool = False) -> AllReduceResult:
    result = asyncio.run(run_of(folder, ranks, patience=patience, on_cpu=on_cpu).run())
    assert probe_processes(str(folder)) == set(), "nothing is left"
    return result


def test_a_run_that_ends_well_is_whole(tmp_path: Path) -> None:
    """Rows, versions and a verdict; no complaint is kept."""
    result = measured(tmp_path, "well")
    assert (result.state, result.problem, result.stderr) == ("done", None, None)
    assert [row.bytes for row in result.results] == [1024, 65536]
    assert result.nccl_version == "2.29.3"


@pytest.mark.parametrize(
    ("ranks", "state", "kind", "words"),
    [
        ("crash", "partial", "rank_crashed", "Rank 0 ended by signal 11."),
        ("lost", "partial", "gpu_failed", "A GPU failed while it was measured"),
        ("out_of_memory", "partial", "out_of_memory", "did not suffice for messages of 64 KiB"),
        ("port", "failed", "port_taken", "Run it again"),
        ("no_nccl", "failed", "no_nccl", "has no NCCL"),
    ],
)
def test_failures_are_named_and_what_was_measured_stays(
    tmp_path: Path, ranks: str, state: str, kind: str, words: str
) -> None:
    """A rank that crashes, a GPU that is lost, memory that ends, a port that is taken: a sentence each."""
    result = measured(tmp_path, ranks)
    assert result.problem is not None
    assert (result.state, result.problem.kind) == (state, kind)
    assert words in result.verdict
    assert len(result.results) == (1 if state == "partial" else 0)


def test_kernels_without_process_descriptors_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RHEL 8 has none: an end and a deadline are noticed all the same."""

    def missing(_pid: int, _flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    assert measured(tmp_path, "well").state == "done"
    late = measured(tmp_path, "hang", patience=Patience(deadline_s=0.5))
    assert late.problem is not None
    assert late.problem.kind == "deadline"


def test_a_deadline_ends_ranks_that_ignore_the_request_to_go(tmp_path: Path) -> None:
    """Deaf to SIGTERM, in sessions of their own: they are gone all the same."""
    result = measured(tmp_path, "stubborn", patience=Patience(deadline_s=0.5))
    assert result.state == "failed"
    assert result.verdict.startswith("Not done within 0.5 s.")


def test_a_hang_on_gpus_is_tried_again_without_p2p_and_that_is_a_diagnosis(tmp_path: Path) -> None:
    """What works only without P2P has a broken P2P path: not passed, and the figures say how they were had."""
    result = measured(tmp_path, "hang_with_p2p", patience=Patience(deadline_s=20.0, silence_s=0.5))
    assert result.problem is not None
    assert (result.problem.kind, result.passed, result.p2p_disabled) == ("p2p_broken", False, True)
    assert "IOMMU or ACS" in result.verdict
    assert len(result.results) == 2


def test_a_hang_with_and_without_p2p_is_a_hang(tmp_path: Path) -> None:
    """The second try changes nothing: the sizes of the first are kept, and both tries are told."""
    result = measured(tmp_path, "hang_later", patience=Patience(deadline_s=20.0, silence_s=0.5))
    assert result.problem is not None
    assert (result.problem.kind, result.passed, result.p2p_disabled) == ("hang", False, False)
    assert result.notes == ["A second try without P2P hung, too."]
    assert len(result.results) == 1


def test_a_hang_on_the_processor_has_no_p2p_to_blame(tmp_path: Path) -> None:
    """One try, one sentence."""
    result = measured(tmp_path, "hang", on_cpu=True, patience=Patience(deadline_s=20.0, silence_s=0.5))
    assert result.problem is not None
    assert result.problem.kind == "hang"
    assert result.notes == []


def test_whoever_cancels_gets_what_there_is(tmp_path: Path) -> None:
    """Cancelled in the middle: the first size stays, and nothing runs on."""

    async def cancelled() -> AllReduceResult:
        reached = asyncio.Event()

        def tell(progress: Progress) -> None:
            if progress.bytes == 65536:
                reached.set()

        run = run_of(tmp_path, "hang_later", on_progress=tell)
        task = asyncio.create_task(run.run())
        await asyncio.wait_for(reached.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return run.cut_short()

    result = asyncio.run(cancelled())
    assert (result.state, len(result.results), result.passed) == ("cancelled", 1, None)
    assert probe_processes(str(tmp_path)) == set()


def test_a_parent_killed_hard_takes_all_its_ranks_along(tmp_path: Path) -> None:
    """SIGKILL leaves no time to clean up: the kernel does it."""
    code = """
import asyncio, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from gpuwatch_agent.probes.allreduce import AllReduceRun
from support.fake_torch import fake_torch
from support.probes import plan
tempfile.tempdir = sys.argv[1]
environ = {**fake_torch(Path(sys.argv[1]), "stubborn"), "OF_TEST": sys.argv[1]}
run = AllReduceRun(plan(), node="n", environ=environ, on_progress=lambda progress: print(progress.phase, flush=True))
asyncio.run(run.run())
"""
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(tmp_path), str(tests)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline().strip() for _ in range(2)] == ["starting", "connecting"]
        children = probe_processes(str(tmp_path))
        assert len(children) >= 2, "the launcher and a rank at least"
        os.kill(parent.pid, signal.SIGKILL)
    assert _gone_within(children, 10.0) == set()
    assert probe_processes(str(tmp_path)) == set(), "nor one that had only just begun"


def _gone_within(pids: set[int], seconds: float) -> set[int]:
    """Wait for each by its descriptor, which tells of an end without asking again and again."""
    left = set()
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if not select.select([descriptor], [], [], seconds)[0]:
            left.add(pid)
        os.close(descriptor)
    return left
