"""From processes that really run to groups with ranks: a fake driver lists them, and everything above it is real."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fake_nvml.fixtures import FakeNode
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.config import AttributionSection, Config, HardwareSection
from gpuwatch_agent.detectors.groups import Group, groups_of
from gpuwatch_agent.model.frame import Frame
from support.ras_server import answer, communicator, rank, serving
from support.real_jobs import copied_proc, frame_of, start, start_engine

POD = "0f2d8a31-7c4e-4b9a-9a51-3c1f2e5d7b60"
CONTAINER = "ab12" * 16
KUBEPODS = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice"
SCOPE = f"{KUBEPODS}/cri-containerd-{CONTAINER}.scope"

RANK = """
import os, sys
import torch, torch.distributed as distributed
distributed.init_process_group("gloo")
sum_of_ranks = torch.tensor([distributed.get_rank()])
distributed.all_reduce(sum_of_ranks)
assert sum_of_ranks.item() == 1
sys.stdout.write(f"{distributed.get_rank()} {os.getpid()}\\n")
sys.stdout.flush()
sys.stdin.read()
distributed.destroy_process_group()
"""

with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (a gigabyte): `pip install -c constraints.txt torch` brings it, as CI does",
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def groups(frame: Frame) -> list[Group]:
    return groups_of(frame.gpus, {})


def told(frame: Frame) -> list[tuple[str, str, list[int], list[int | None], int | None]]:
    return [(one.id, one.split, one.indices, one.ranks, one.size) for one in groups(frame)]


def torchrun(stack: ExitStack, script: Path, *arguments: str) -> tuple[int, list[int]]:
    """A job of two gloo ranks that have met: the launcher's PID, and those of its ranks in their order."""
    script.write_text(RANK)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [*launcher, str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    stack.callback(child.communicate, timeout=30)
    assert child.stdout is not None
    lines = [child.stdout.readline().split() for _ in range(2)]
    return child.pid, [pid for _, pid in sorted((int(number), int(pid)) for number, pid in lines)]


@with_torch
def test_gloo_ranks_of_torchrun(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """Ranks and world size as torchrun gave them, under the launcher's name, in the order of ranks and not of GPUs."""
    launcher, ranks = torchrun(stack, tmp_path / "train.py")
    frame = frame_of(nvml_here, {3: ranks[0], 1: ranks[1]})
    assert told(frame) == [(f"torchrun:train.py@{launcher}", "data", [3, 1], [0, 1], 2)]
    assert groups(frame)[0].lockstep


@with_torch
def test_a_tensor_parallel_job_of_torchrun(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """Megatron's own flag on the ranks' command line says that they split the tensors."""
    launcher, ranks = torchrun(stack, tmp_path / "pretrain_gpt.py", "--tensor-model-parallel-size", "2")
    frame = frame_of(nvml_here, dict(enumerate(ranks)))
    assert told(frame) == [(f"distributed:pretrain_gpt.py@{launcher}", "tensor", [0, 1], [0, 1], 2)]


def test_a_vllm_server_with_replicas(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """Two replicas of two ranks each, three processes deep, all with titles of their own: two groups, not one."""
    titles = [f"VLLM::EngineCore_DP{dp}[VLLM::Worker_DP{dp}_TP0 VLLM::Worker_DP{dp}_TP1]" for dp in range(2)]
    arguments = ["serve", "Qwen/Qwen3-32B", "--tensor-parallel-size", "2", "--data-parallel-size", "2"]
    _, ranks = start_engine(stack, tmp_path / "vllm", titles, arguments)
    frame = frame_of(nvml_here, dict(enumerate(ranks)))
    facts = ProcessTable().facts(ranks)
    cores = [facts[pid].ppid for pid in ranks[::2]]
    assert told(frame) == [
        (f"vllm:Qwen/Qwen3-32B@{cores[0]}/dp0", "tensor", [0, 1], [0, 1], 2),
        (f"vllm:Qwen/Qwen3-32B@{cores[1]}/dp1", "tensor", [2, 3], [0, 1], 2),
    ]


def test_an_sglang_server(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """Its schedulers bear their ranks, its launcher the size; the detokenizer beside them is on no GPU."""
    titles = ["sglang::scheduler_TP0", "sglang::scheduler_TP1", "sglang::detokenizer"]
    program = tmp_path / "sglang.launch_server"
    launcher, pids = start_engine(stack, program, titles, ["--model-path", "/models/qwen", "--tp-size", "2"])
    frame = frame_of(nvml_here, {0: pids[0], 1: pids[1]})
    assert told(frame) == [(f"sglang:qwen@{launcher}", "tensor", [0, 1], [0, 1], 2)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_two_users_share_the_machine(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """The same engine by two users, their GPUs interleaved: each has a group of its own, and its name on it."""
    titles = ["VLLM::Worker_TP0", "VLLM::Worker_TP1"]
    arguments = ["serve", "Qwen/Qwen3-8B", "-tp", "2"]
    mine, my_ranks = start_engine(stack, tmp_path / "mine" / "vllm", titles, arguments)
    env = {**os.environ, "BECOME": str(pwd.getpwnam("nobody").pw_uid)}
    theirs, their_ranks = start_engine(stack, tmp_path / "theirs" / "vllm", titles, arguments, env=env)
    frame = frame_of(nvml_here, {0: my_ranks[0], 1: their_ranks[0], 2: my_ranks[1], 3: their_ranks[1]})
    assert told(frame) == [
        (f"vllm:Qwen/Qwen3-8B@{mine}", "tensor", [0, 2], [0, 1], 2),
        (f"vllm:Qwen/Qwen3-8B@{theirs}", "tensor", [1, 3], [0, 1], 2),
    ]
    assert [gpu.processes[0].user for gpu in frame.gpus if gpu.processes] == ["root", "nobody", "root", "nobody"]


def pod_of(frame: Frame) -> list[tuple[str | None, str | None]]:
    return [(one.pod, one.container) for gpu in frame.gpus for one in gpu.processes or ()]


def engine_of_two(stack: ExitStack, folder: Path) -> list[int]:
    titles = ["VLLM::Worker_TP0", "VLLM::Worker_TP1"]
    _, ranks = start_engine(stack, folder / "vllm", titles, ["serve", "Qwen/Qwen3-8B", "-tp", "2"])
    return ranks


def own_cgroup() -> Path | None:
    """A new control group that this test may fill; `None` where the kernel's tree is not ours to change."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "cgroup2":
            place = Path(mount, f"gpuwatch-test-{os.getpid()}", SCOPE)
            try:
                place.mkdir(parents=True)
            except OSError:
                return None
            return place
    return None


def move(pids: Sequence[int], place: Path) -> None:
    for pid in pids:
        (place / "cgroup.procs").write_text(f"{pid}\n")


def test_ranks_in_a_control_group_of_a_pod(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """Pod and container by the names that the kernel itself gives."""
    place = own_cgroup()
    if place is None:
        pytest.skip("the kernel's control groups are read-only here; the next test reads a copy of /proc instead")
    for folder in [*reversed(place.parents[: len(Path(SCOPE).parts)]), place]:
        stack.callback(folder.rmdir)
    ranks = engine_of_two(stack, tmp_path)
    move(ranks, place)
    frame = frame_of(nvml_here, dict(enumerate(ranks)))
    assert pod_of(frame) == [(POD, CONTAINER)] * 2
    assert [one.ranks for one in groups(frame)] == [[0, 1]]


def test_ranks_in_a_copied_proc_of_a_pod(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """The same, where only the control group's name is made up."""
    ranks = engine_of_two(stack, tmp_path / "engine")
    proc = tmp_path / "proc"
    proc.mkdir()
    frame = frame_of(nvml_here, dict(enumerate(ranks)), proc=copied_proc(proc, ranks, f"/{SCOPE}"))
    assert pod_of(frame) == [(POD, CONTAINER)] * 2
    assert [one.ranks for one in groups(frame)] == [[0, 1]]


def lone(stack: ExitStack, folder: Path, name: str, **options: object) -> int:
    """A process that tells nothing of any group."""
    script = folder / name
    script.write_text("import sys; print('ready', flush=True); sys.stdin.read()")
    return start(stack, [sys.executable, script], **options)[0]


def asking(address: str) -> Config:
    return Config(
        attribution=AttributionSection(nccl_ras=True, nccl_ras_address=address), hardware=HardwareSection(events=False)
    )


def test_nccl_tells_of_processes_that_tell_nothing_themselves(
    stack: ExitStack, nvml_here: FakeNode, tmp_path: Path
) -> None:
    """By NCCL's own word they are ranks of one communicator; another job's ranks elsewhere are not mixed in."""
    pids = [lone(stack, tmp_path, f"job{number}.py") for number in range(3)]
    ranks = [rank(1, pids[0], 0, AllReduce=9), rank(0, pids[1], 2, AllReduce=9), rank(2, pids[2], 3, host="192.0.2.1")]
    with serving(answer(communicator(ranks))) as server:
        frame = frame_of(nvml_here, {0: pids[0], 2: pids[1], 3: pids[2]}, config=asking(server.address))
    assert [(one.split, one.indices, one.ranks, one.size, one.source) for one in groups(frame)] == [
        ("data", [2, 0], [0, 1], 3, "NCCL RAS")
    ]


def test_a_silent_nccl_holds_no_sample_up(stack: ExitStack, nvml_here: FakeNode, tmp_path: Path) -> None:
    """The processes are there while the service has not answered; that it did not is in the agent's account."""
    pid = lone(stack, tmp_path, "job.py")
    with serving() as server:
        server.hangs_up_at = "STATUS"
        frame = frame_of(nvml_here, {0: pid}, config=asking(server.address))
    assert frame.gpus[0].processes
    assert frame.agent is not None
    (cost,) = [one for one in frame.agent.collectors or () if one.name == "nccl_ras"]
    assert cost.failures == 1


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_a_pid_namespace_of_its_own(stack: ExitStack) -> None:
    """What NCCL calls PID 1 in a container is found by the PID that the host knows."""
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    outer, line = start(stack, ["unshare", "--pid", "--fork", sys.executable, "-c", code])
    if not line:
        pytest.skip("no PID namespaces here")
    child = int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])
    facts = ProcessTable(namespace_pids=True).facts([child, os.getpid()])
    assert (facts[child].namespace_pid, int(line)) == (1, 1)
    assert ProcessTable().facts([child])[child].namespace_pid is None
