"""Process trees of simulated machines: who runs, under whom, in which container or Slurm job, and on which GPU."""

import random
from collections.abc import Iterable

from msgspec import Struct

from gpuwatch_agent.hardware.base import ProcessFacts
from gpuwatch_agent.hardware.simulated.boards import GIB, MIB


class SimulatedProcess(Struct, frozen=True, kw_only=True):
    """One process: `started_s` counts seconds before the simulation was opened."""

    pid: int
    ppid: int
    user: str
    name: str
    command: tuple[str, ...]
    environ: dict[str, str] | None = None
    cgroup: str
    started_s: float
    cpus: float = 0.0
    rss_bytes: int = 200 * MIB
    job: str | None = None
    memory: dict[int, int] = {}
    """Bytes held on each GPU; empty for a process of the host."""
    kind: str = "compute"
    gpu_instance: int | None = None

    def facts(self, opened_at: float, now: float, *, visible: bool = True) -> ProcessFacts:
        """As /proc would tell it now, or the little that is left of it for a user without permission."""
        started_at = opened_at - self.started_s
        return ProcessFacts(
            pid=self.pid,
            ppid=self.ppid,
            user=self.user if visible else None,
            name=self.name,
            command=self.command if visible else None,
            environ=self.environ if visible else None,
            cgroup=self.cgroup if visible else None,
            started_at=started_at,
            cpu_s=self.cpus * (now - started_at) if visible else None,
            rss_bytes=self.rss_bytes if visible else None,
        )


class Containment(Struct, frozen=True):
    """Where a workload's processes live."""

    cgroup: str
    pod_uid: str | None = None


def pod(chance: random.Random, quality: str = "burstable") -> Containment:
    """A Kubernetes pod on systemd and containerd, control groups v2."""
    uid = hex_id(chance, 8, 4, 4, 4, 12)
    container = f"{chance.getrandbits(256):064x}"
    scope = f"kubepods-{quality}-pod{uid.replace('-', '_')}.slice/cri-containerd-{container}.scope"
    return Containment(f"0::/kubepods.slice/kubepods-{quality}.slice/{scope}", uid)


def docker(chance: random.Random) -> Containment:
    """A container of Docker's on systemd."""
    return Containment(f"0::/system.slice/docker-{chance.getrandbits(256):064x}.scope")


def slurm(job: int, step: int = 0) -> Containment:
    """A Slurm job step, control groups v2."""
    return Containment(f"0::/system.slice/slurmstepd.scope/job_{job}/step_{step}/user/task_0")


def login(user: int = 1000) -> Containment:
    """Somebody's session."""
    return Containment(f"0::/user.slice/user-{user}.slice/session-4.scope")


def hex_id(chance: random.Random, *lengths: int) -> str:
    """Groups of hexadecimal digits, as in a UUID."""
    return "-".join(f"{chance.getrandbits(4 * length):0{length}x}" for length in lengths)


def init() -> SimulatedProcess:
    """The first of all processes."""
    return SimulatedProcess(
        pid=1,
        ppid=0,
        user="root",
        name="systemd",
        command=("/sbin/init",),
        cgroup="0::/init.scope",
        started_s=1_051_200.0,
        rss_bytes=13 * MIB,
    )


def shim(pid: int) -> SimulatedProcess:
    """The parent of a container's first process."""
    return SimulatedProcess(
        pid=pid,
        ppid=1,
        user="root",
        name="containerd-shim",
        command=(
            "/usr/bin/containerd-shim-runc-v2",
            "-namespace",
            "k8s.io",
            "-address",
            "/run/containerd/containerd.sock",
        ),
        cgroup="0::/system.slice/containerd.service",
        started_s=400_000.0,
        rss_bytes=14 * MIB,
    )


def vllm(
    place: Containment,
    *,
    pid: int,
    job: str,
    gpus: Iterable[int],
    model: str,
    memory_gib: float,
    user: str = "serve",
    port: int = 8000,
) -> list[SimulatedProcess]:
    """`vllm serve` with its engine core and one worker a GPU, as vLLM titles them."""
    ranks = tuple(gpus)
    parent = pid + 1
    core = pid + 217
    started = 302_400.0 - pid % 977
    environ = {
        "HOSTNAME": f"{job}-7f9c8d6b5-x2v4q",
        "CUDA_VISIBLE_DEVICES": ",".join(str(rank) for rank in ranks),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    command = (
        "/usr/bin/python3",
        "/usr/local/bin/vllm",
        "serve",
        model,
        "--tensor-parallel-size",
        str(len(ranks)),
        "--port",
        str(port),
        "--gpu-memory-utilization",
        "0.90",
    )
    tree = [
        shim(pid),
        SimulatedProcess(
            pid=parent,
            ppid=pid,
            user=user,
            name="vllm",
            command=command,
            environ=environ,
            cgroup=place.cgroup,
            started_s=started,
            cpus=0.22,
            rss_bytes=3 * GIB,
        ),
        SimulatedProcess(
            pid=core,
            ppid=parent,
            user=user,
            name="VLLM::EngineCor",
            command=("VLLM::EngineCore",),
            environ={},
            cgroup=place.cgroup,
            started_s=started - 21,
            cpus=0.96,
            rss_bytes=5 * GIB,
        ),
    ]
    for rank, gpu in enumerate(ranks):
        tree.append(
            SimulatedProcess(
                pid=core + 164 + rank,
                ppid=core,
                user=user,
                # The kernel keeps 15 characters of a name: the rank is lost there, and the title has eaten the environ.
                name="VLLM::Worker_TP",
                command=(f"VLLM::Worker_TP{rank}",),
                environ={},
                cgroup=place.cgroup,
                started_s=started - 33,
                cpus=1.03,
                rss_bytes=int(7.4 * GIB),
                job=job,
                memory={gpu: int(memory_gib * GIB)},
            )
        )
    return tree


def torchrun(
    place: Containment,
    *,
    pid: int,
    job: str,
    gpus: Iterable[int],
    script: tuple[str, ...],
    memory_gib: float,
    user: str,
    slurm_job: str | None = None,
) -> list[SimulatedProcess]:
    """A training job: one rank a GPU, told its place by the environment."""
    ranks = tuple(gpus)
    python = "/home/" + user + "/venv/bin/python"
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": str(len(ranks))}
    if slurm_job is not None:
        common |= {"SLURM_JOB_ID": slurm_job, "SLURM_STEP_ID": "0"}
    tree = [
        SimulatedProcess(
            pid=pid,
            ppid=1,
            user=user,
            name="torchrun",
            command=(python, f"/home/{user}/venv/bin/torchrun", f"--nproc-per-node={len(ranks)}", *script),
            environ={key: value for key, value in common.items() if key.startswith("SLURM")},
            cgroup=place.cgroup,
            started_s=53_000.0,
            cpus=0.01,
            rss_bytes=400 * MIB,
        )
    ]
    for rank, gpu in enumerate(ranks):
        tree.append(
            SimulatedProcess(
                pid=pid + 68 + rank,
                ppid=pid,
                user=user,
                name="python",
                command=(python, "-u", *script),
                environ={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(len(ranks))},
                cgroup=place.cgroup,
                started_s=52_990.0,
                cpus=1.6,
                rss_bytes=9 * GIB,
                job=job,
                memory={gpu: int(memory_gib * GIB)},
            )
        )
    return tree


def server(
    place: Containment,
    *,
    pid: int,
    job: str,
    command: tuple[str, ...],
    memory_gib: dict[int, float],
    user: str,
    parent: int = 1,
    environ: dict[str, str] | None = None,
    gpu_instance: int | None = None,
    cpus: float = 0.4,
) -> SimulatedProcess:
    """One process that serves, on one GPU or on several."""
    return SimulatedProcess(
        pid=pid,
        ppid=parent,
        user=user,
        name=command[0].rsplit("/", 1)[-1][:15],
        command=command,
        environ=environ or {},
        cgroup=place.cgroup,
        started_s=190_000.0 - pid % 911,
        cpus=cpus,
        rss_bytes=2 * GIB,
        job=job,
        memory={gpu: int(size * GIB) for gpu, size in memory_gib.items()},
        gpu_instance=gpu_instance,
    )


def intruder(gpu: int, started_s: float) -> SimulatedProcess:
    """Somebody else's program on a GPU that is taken."""
    return SimulatedProcess(
        pid=1_310_440 + 97 * gpu,
        ppid=1,
        user="mallory",
        name="python3",
        command=("python3", "finetune.py", "--epochs", "3"),
        environ={"CUDA_VISIBLE_DEVICES": str(gpu)},
        cgroup=login(1007).cgroup,
        started_s=started_s,
        cpus=1.0,
        rss_bytes=3 * GIB,
        job="intruder",
        memory={gpu: int(1.5 * GIB)},
    )
