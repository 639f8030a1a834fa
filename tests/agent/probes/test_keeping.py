"""Results on disk and locks on GPUs."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from gpuwatch_agent.config import ProbesSection
from gpuwatch_agent.model.errors import ProbeError, UsageError
from gpuwatch_agent.probes.leftovers import MARK, remove_forgotten_scratch, remove_shared_memory, shared_memory_of
from gpuwatch_agent.probes.locks import holding
from gpuwatch_agent.probes.result import AllReduceResult
from gpuwatch_agent.probes.store import Store, open_store
from support.probes import result, row

RUN = result([row(1024, 14.0), row(1 << 30, 4000.0)])


def run_of(number: int, **changes: object) -> AllReduceResult:
    return structs.replace(RUN, id=f"20261121T0200{number:02}-allreduce-aaaa", finished_at=float(number), **changes)


def test_what_is_stored_reads_back_the_newest_first(tmp_path: Path) -> None:
    """Whole, readable by others, and in order."""
    store = Store(tmp_path / "probes", keep=10)
    paths = [store.add(run_of(number)) for number in (1, 3, 2)]
    assert [run.finished_at for run in store.results()] == [3, 2, 1]
    assert store.results()[2] == run_of(1)
    assert paths[0].stat().st_mode & 0o777 == 0o644
    assert msgspec.json.decode(paths[0].read_bytes())["schema"] == 1


def test_the_oldest_go(tmp_path: Path) -> None:
    """No more than are to be kept."""
    store = Store(tmp_path, keep=2)
    for number in range(5):
        store.add(run_of(number))
    assert [run.finished_at for run in store.results()] == [4, 3]


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    """Broken, of a later gpuwatch, or of another kind: the rest is still there."""
    store = Store(tmp_path, keep=10)
    store.add(run_of(1))
    (tmp_path / "20270101T000000-x.json").write_text("{")
    (tmp_path / "20270102T000000-x.json").write_bytes(msgspec.json.encode(structs.replace(RUN, schema=2)))
    (tmp_path / "20270103T000000-x.json").write_text('{"kind":"later","schema":1}')
    assert [run.id for run in store.results()] == [run_of(1).id]


def test_results_go_by_number_id_or_beginning(tmp_path: Path) -> None:
    """1 is the newest; what is not one of them is said."""
    store = Store(tmp_path, keep=10)
    for number in (1, 2):
        store.add(run_of(number))
    assert store.named("1") == run_of(2)
    assert store.named(run_of(1).id) == run_of(1)
    assert store.named("20261121T020001") == run_of(1)
    for name, words in (("9", "No stored result begins with '9'."), ("20261121", "2 stored results begin with")):
        with pytest.raises(UsageError) as refused:
            store.named(name)
        assert words in str(refused.value)


def test_the_last_outcome_of_each_way_to_run(tmp_path: Path) -> None:
    """By ranks and backend; what somebody cut short counts for nothing."""
    store = Store(tmp_path, keep=10)
    store.add(run_of(1))
    store.add(run_of(2, passed=False))
    store.add(run_of(3, state="cancelled"))
    store.add(run_of(4, ranks=2))
    assert [(one.ranks, one.finished_at) for one in store.last_outcomes()] == [(2, 4), (8, 2)]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Before the first run."""
    store = Store(tmp_path / "none", keep=10)
    assert (store.results(), store.last_outcomes(), store.changed_at()) == ([], [], None)


def test_where_results_lie() -> None:
    """The user's state unless configured."""
    assert open_store(ProbesSection(), {"XDG_STATE_HOME": "/s"}).directory == Path("/s/gpuwatch/probes")
    assert open_store(ProbesSection(), {"HOME": "/h"}).directory == Path("/h/.local/state/gpuwatch/probes")
    assert open_store(ProbesSection(directory="/d"), {"HOME": "/h"}).directory == Path("/d")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond some bytes, for this process: writing fails as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path: Path) -> None:
    """The earlier results stay as they are."""
    store = Store(tmp_path, keep=10)
    store.add(run_of(1))
    with full_disk(), pytest.raises(ProbeError) as refused:
        store.add(run_of(2))
    assert f"The result could not be stored in {tmp_path}: " in str(refused.value)
    assert "It is shown here all the same" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [f"{run_of(1).id}.json"]


def test_one_probe_at_a_time_on_a_gpu(tmp_path: Path) -> None:
    """Who is second is told who is first; other GPUs are free, and so is the same one afterwards."""
    with holding(tmp_path, ["GPU-0", "GPU-1"], "allreduce"):
        with pytest.raises(ProbeError) as refused, holding(tmp_path, ["GPU-1", "GPU-2"], "decode"):
            pass
        assert str(refused.value) == (
            f"`probe allreduce` of process {os.getpid()} is measuring the GPU GPU-1 just now. Wait until it is done."
        )
        with holding(tmp_path, ["GPU-2"], "decode"):
            pass
    with holding(tmp_path, ["GPU-1"], "decode"):
        pass


def test_locks_that_cannot_be_kept_are_said(tmp_path: Path) -> None:
    """A folder that is none."""
    (tmp_path / "file").touch()
    with pytest.raises(ProbeError, match=r"Set probes\.directory"), holding(tmp_path / "file", ["cpu"], "allreduce"):
        pass


def test_shared_memory_that_ranks_left_is_removed() -> None:
    """Seen in a rank's hands and in nobody's now: gone. What another job has stays, whatever its name."""
    folder = Path("/dev/shm")
    ours, others = (folder / f"nccl-test-{os.getpid()}-{word}" for word in ("ours", "others"))
    hold = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 4096); print('held', flush=True); input()"
    try:
        for path in (ours, others):
            path.write_bytes(bytes(4096))
        rank = subprocess.Popen(
            [sys.executable, "-c", hold, ours],
            env={**os.environ, MARK: "a-run-of-this-test"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert rank.stdout is not None
            assert rank.stdout.readline() == b"held\n"
            held = shared_memory_of("a-run-of-this-test")
            assert held == {ours.name}
            assert remove_shared_memory(held) == [], "it is still in use"
        finally:
            rank.kill()
            rank.communicate()
        assert remove_shared_memory(held) == [ours.name]
        assert others.exists()
    finally:
        ours.unlink(missing_ok=True)
        others.unlink(missing_ok=True)


def test_folders_of_runs_that_were_killed_long_ago_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days old: gone; of a run that may still be going on: left alone, as is what has another name."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    now = 1_795_226_400.0
    for name, age_s in (("gpuwatch-probe-old", 3 * 86400), ("gpuwatch-probe-now", 3600), ("other", 9 * 86400)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log").touch()
        os.utime(tmp_path / name, (now - age_s, now - age_s))
    remove_forgotten_scratch(now)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpuwatch-probe-now", "other"]
