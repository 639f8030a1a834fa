"""Whose processes are on the GPUs: the driver's list joined with the host's facts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from gpuwatch_agent.attribution.cgroup import Workload, workload_of
from gpuwatch_agent.attribution.program import printable, short_name
from gpuwatch_agent.attribution.tensor_parallel import ANCESTOR_LEVELS, NO_GROUP, Membership, infer
from gpuwatch_agent.hardware.base import GpuProcess, ProcessFacts
from gpuwatch_agent.model.process import Process

if TYPE_CHECKING:
    from gpuwatch_agent.attribution.ras import Communicator

Number = TypeVar("Number", int, float)

COMMAND_CHARACTERS = 4096
VISIBLE_GPUS_CHARACTERS = 1024
STRAY_CONTEXT_BYTES = 1 << 30
"""A rank that touched another GPU by mistake leaves a context of some hundred MiB there."""
NOT_A_WORKLOAD = frozenset({"nvidia-cuda-mps-server", "nvidia-cuda-mps-control"})


def attribute(
    listed: Mapping[int, Sequence[GpuProcess]],
    facts: Mapping[int, ProcessFacts],
    communicators: Sequence["Communicator"] = (),
) -> dict[int, list[Process]]:
    """The processes of every GPU, in the driver's order, with all that is known of each."""
    rows = {gpu: _merged(processes) for gpu, processes in listed.items()}
    memory_of: dict[int, dict[int, int | None]] = {}
    for gpu, processes in rows.items():
        for one in processes:
            known = facts.get(one.pid)
            if one.kind != "graphics" and not (known and known.name in NOT_A_WORKLOAD):
                memory_of.setdefault(one.pid, {})[gpu] = one.memory_bytes
    homes = {pid: _home_gpus(memory) for pid, memory in memory_of.items()}
    memberships = infer(facts, {pid: sorted(memory) for pid, memory in memory_of.items()}, communicators)
    return {
        gpu: [
            _row(one, facts, memberships.get(one.pid, NO_GROUP) if gpu in homes.get(one.pid, ()) else NO_GROUP)
            for one in processes
        ]
        for gpu, processes in rows.items()
    }


def _merged(processes: Sequence[GpuProcess]) -> list[GpuProcess]:
    """One row per PID and MIG instance, though drivers list a process once as compute and once as graphics."""
    merged: dict[tuple[int, int | None], GpuProcess] = {}
    for one in processes:
        key = (one.pid, one.gpu_instance)
        first = merged.get(key)
        if first is None:
            merged[key] = one
            continue
        kinds = sorted({*first.kind.split("+"), *one.kind.split("+")})
        merged[key] = GpuProcess(
            pid=one.pid,
            kind="+".join(kinds),
            # Both lists speak of the same memory and the same work: the larger figure, not the sum.
            memory_bytes=_larger(first.memory_bytes, one.memory_bytes),
            sm_pct=_larger(first.sm_pct, one.sm_pct),
            gpu_instance=one.gpu_instance,
        )
    return list(merged.values())


def _larger(one: Number | None, other: Number | None) -> Number | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _home_gpus(memory: Mapping[int, int | None]) -> set[int]:
    """The GPUs a process works on: not those where it holds a stray context beside much more elsewhere."""
    most = max((amount for amount in memory.values() if amount is not None), default=0)
    return {
        gpu for gpu, amount in memory.items() if amount is None or amount > STRAY_CONTEXT_BYTES or amount * 10 >= most
    }


def _row(one: GpuProcess, facts: Mapping[int, ProcessFacts], membership: Membership) -> Process:
    known = facts.get(one.pid)
    if known is None:
        return Process(
            pid=one.pid,
            memory_bytes=one.memory_bytes,
            sm_pct=one.sm_pct,
            kind=one.kind,
            gpu_instance=one.gpu_instance,
            visible=False,
        )
    workload = workload_of(known.cgroup) if known.cgroup else Workload()
    return Process(
        pid=one.pid,
        user=known.user,
        name=short_name(known.command) if known.command else _comm(known),
        command=command_line(known.command) if known.command else None,
        memory_bytes=one.memory_bytes,
        sm_pct=one.sm_pct,
        container=workload.container_id,
        pod=workload.pod_uid,
        slurm_job=workload.slurm_job or _slurm_job(one.pid, facts),
        tp_group=membership.group,
        tp_rank=membership.rank,
        tp_size=membership.size,
        tp_source=membership.source,
        split=membership.split,
        kind=one.kind,
        started_at=known.started_at,
        gpu_instance=one.gpu_instance,
        visible_gpus=_visible_gpus(one.pid, facts),
    )


def _comm(known: ProcessFacts) -> str | None:
    return printable(known.name) if known.name is not None else None


@lru_cache(maxsize=2048)
def command_line(argv: tuple[str, ...]) -> str:
    """The whole command line in one line, cut where it is longer than anybody reads."""
    shown = printable(" ".join(argv)[:COMMAND_CHARACTERS])
    return shown if len(shown) <= COMMAND_CHARACTERS else shown[:COMMAND_CHARACTERS]


def _slurm_job(pid: int, facts: Mapping[int, ProcessFacts]) -> str | None:
    """The job in the environment, the process's own or an ancestor's."""
    for known in islice(_line(pid, facts), ANCESTOR_LEVELS + 1):
        job = (known.environ or {}).get("SLURM_JOB_ID")
        if job and job.isascii() and job.isdigit():
            return job
    return None


def _visible_gpus(pid: int, facts: Mapping[int, ProcessFacts]) -> str | None:
    """Engines write their titles over their environment, so it is looked for in their ancestors' too."""
    for known in islice(_line(pid, facts), ANCESTOR_LEVELS + 1):
        value = (known.environ or {}).get("CUDA_VISIBLE_DEVICES")
        if value is not None:
            return printable(value[:VISIBLE_GPUS_CHARACTERS])
    return None


def _line(pid: int, facts: Mapping[int, ProcessFacts]) -> Iterator[ProcessFacts]:
    known = facts.get(pid)
    while known is not None:
        yield known
        known = facts.get(known.ppid) if known.ppid is not None else None
