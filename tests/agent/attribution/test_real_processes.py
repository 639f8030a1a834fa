"""The whole way from real processes on this machine to rows, with a driver's list made up around them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gpuwatch_agent.attribution.attribute import attribute
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.hardware.base import GpuProcess

ENGINE = """
import subprocess, sys
workers = [
    subprocess.Popen([sys.executable, "-c", sys.argv[1], str(rank)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    for rank in range(2)
]
for worker in workers:
    worker.stdout.readline()
print(*(worker.pid for worker in workers), flush=True)
sys.stdin.read()
for worker in workers:
    worker.communicate()
"""
WORKER = """
import sys
import setproctitle
setproctitle.setproctitle(f"VLLM::Worker_TP{sys.argv[1]}")
print("ready", flush=True)
sys.stdin.read()
"""
IDLE = "import sys; print('ready', flush=True); sys.stdin.read()"
ZOMBIE = """
import os, sys
child = os.fork()
if child == 0:
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print(child, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, argv: list[str], **options: object) -> tuple[int, str]:
    """A child that has printed its first line; it ends when its stdin does."""
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    stack.callback(child.communicate)
    return child.pid, child.stdout.readline()


def listed(*pids: int) -> dict[int, list[GpuProcess]]:
    return {gpu: [GpuProcess(pid=pid, kind="compute", memory_bytes=1 << 30)] for gpu, pid in enumerate(pids)}


def test_renamed_workers_of_an_engine(stack: ExitStack, tmp_path: Path) -> None:
    """Children that setproctitle renamed are ranks of their parent, whose command line gives the size."""
    engine = tmp_path / "vllm"
    engine.write_text(ENGINE)
    argv = [sys.executable, str(engine), WORKER, "serve", "Qwen/Qwen3-32B", "--tensor-parallel-size", "2"]
    parent, line = start(stack, argv)
    workers = [int(pid) for pid in line.split()]
    rows = attribute(listed(*workers), ProcessTable().facts(workers))
    for rank, pid in enumerate(workers):
        row = rows[rank][0]
        assert (row.pid, row.name, row.command) == (pid, f"VLLM::Worker_TP{rank}", f"VLLM::Worker_TP{rank}")
        assert (row.tp_group, row.tp_rank, row.tp_size) == (f"vllm:Qwen/Qwen3-32B@{parent}", rank, 2)
        assert row.split == "tensor"


def test_ranks_of_torchrun(stack: ExitStack, tmp_path: Path) -> None:
    """The environment that torchrun gives its children makes them ranks of one group."""
    script = tmp_path / "train.py"
    script.write_text(IDLE)
    pids = []
    for rank in range(2):
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": "29500", "SLURM_JOB_ID": "77"}
        pids.append(start(stack, [sys.executable, str(script)], env=env)[0])
    rows = attribute(listed(*pids), ProcessTable().facts(pids))
    places = [(row.tp_group, row.tp_rank, row.tp_size, row.split, row.name, row.slurm_job) for [row] in rows.values()]
    group = f"distributed:train.py@{os.getpid()}:29500"
    assert places == [(group, rank, 2, "data", "train.py", "77") for rank in range(2)]


def test_a_zombie(stack: ExitStack) -> None:
    """A process that has ended and was not reaped shows its name in brackets and no command."""
    _, line = start(stack, [sys.executable, "-c", ZOMBIE])
    pid = int(line)
    [row] = attribute(listed(pid), ProcessTable().facts([pid]))[0]
    assert row.visible
    assert row.name is not None
    assert row.name.startswith("[")
    assert row.command is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start a process as another user")
def test_a_process_of_another_user(stack: ExitStack) -> None:
    """The owner is the process's own, by name."""
    pid, _ = start(stack, ["/bin/sh", "-c", "echo ready; read wait || true"], user="nobody")
    assert ProcessTable().facts([pid])[pid].user == "nobody"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start a process as another user")
def test_an_owner_without_a_name_is_a_number(stack: ExitStack) -> None:
    """A uid that no user database knows, as from a container, shows as it is."""
    pid, _ = start(stack, ["/bin/sh", "-c", "echo ready; read wait || true"], user=3456789)
    assert ProcessTable().facts([pid])[pid].user == "3456789"


def test_a_process_that_ends_between_two_readings(stack: ExitStack) -> None:
    """The driver may list a PID for a while after its process is gone: a row with the PID only."""
    child = subprocess.Popen([sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    table = ProcessTable()
    assert child.pid in table.facts([child.pid])
    child.communicate()
    [row] = attribute(listed(child.pid), table.facts([child.pid]))[0]
    assert (row.visible, row.user, row.name, row.memory_bytes) == (False, None, None, 1 << 30)


def test_this_very_process() -> None:
    """Our own facts agree with what the interpreter knows of itself."""
    facts = ProcessTable().facts([os.getpid()])
    mine = facts[os.getpid()]
    assert mine.ppid == os.getppid()
    assert mine.ppid in facts
    assert mine.command
    assert mine.rss_bytes
    assert mine.started_at is not None


def test_init_is_readable_or_absent() -> None:
    """PID 1 is foreign to most users, and reading it never fails loudly."""
    assert set(ProcessTable().facts([1])) <= {1}
