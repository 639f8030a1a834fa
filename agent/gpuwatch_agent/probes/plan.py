"""From what somebody asks and what the machine has to what will be run; what can't be is refused in a sentence."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.errors import GpuBusyError, ProbeError, TorchMissingError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.probes.result import ProbedGpu

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LATENCY_UP_TO = MIB
"""Messages up to this size are about latency, larger ones about bandwidth."""
DTYPES = ("float32", "bfloat16", "float16")
MOST_RANKS = 64

_LEAST_BYTES, _MOST_BYTES = KIB, 64 * GIB
_BUSY_PCT = 10.0
_BUSY_BYTES = 2 * GIB
_SHM_A_RANK = 16 * MIB
# The buffer itself, NCCL's own, and the parts that are compared.
_MEMORY_SHARE = 0.4


class AllReduceRequest(Struct, frozen=True, kw_only=True):
    """What is asked for; whatever is null is chosen."""

    gpus: list[int] | None = None
    ranks: int | None = None
    on_cpu: bool = False
    sizes: tuple[int, int] | None = None
    dtypes: list[str] | None = None
    quick: bool = False
    force: bool = False
    deadline_s: float | None = None


class Machine(Struct, frozen=True, kw_only=True):
    """What of the machine matters beside its GPUs."""

    has_torch: bool
    shared_memory_free: int | None
    memory_available: int


class Step(Struct, frozen=True, kw_only=True):
    """One message size of the sweep."""

    bytes: int
    iterations: int
    warmup: int


class Plan(Struct, frozen=True, kw_only=True):
    """What will be run."""

    device: Literal["cuda", "cpu"]
    ranks: int
    gpus: list[ProbedGpu]
    fabric: str | None
    dtypes: list[str]
    steps: list[Step]
    quick: bool
    seconds_a_size: float
    deadline_s: float
    notes: list[str]


def look_at_machine() -> Machine:
    """Read now."""
    import psutil

    try:
        filesystem = os.statvfs("/dev/shm")  # noqa: S108  # where NCCL and torch put theirs
        shared = filesystem.f_bavail * filesystem.f_frsize
    except OSError:
        shared = None
    return Machine(
        # Finding is not importing: torch stays out of this process.
        has_torch=importlib.util.find_spec("torch") is not None,
        shared_memory_free=shared,
        memory_available=psutil.virtual_memory().available,
    )


def plan_allreduce(request: AllReduceRequest, frame: Frame | None, topology: Topology | None, machine: Machine) -> Plan:
    """Decide on ranks, sizes and types; `frame` is null where there is no driver."""
    need_torch(machine)
    present = frame.gpus if frame is not None else []
    if request.on_cpu and request.gpus is not None:
        raise UsageError("--cpu and --gpus exclude each other.", "Leave one of them out.")
    if request.on_cpu or not present:
        if request.gpus is not None:
            raise UsageError("There is no GPU on this node.", "Without --gpus the processor is measured.")
        chosen: list[Gpu] = []
        ranks = request.ranks if request.ranks is not None else 2
    else:
        chosen = choose_gpus(request.gpus, request.ranks, present)
        ranks = len(chosen)
    _check_ranks(ranks)
    notes = _shared_memory_notes(ranks, machine) if chosen else []
    if chosen:
        notes += refuse_unusable(chosen, force=request.force)
    largest = _largest(chosen, ranks, machine, force=request.force)
    return Plan(
        device="cuda" if chosen else "cpu",
        ranks=ranks,
        gpus=[ProbedGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name) for gpu in chosen],
        fabric=fabric_between([gpu.uuid for gpu in chosen], topology) if chosen else None,
        dtypes=request.dtypes or ["bfloat16" if chosen else "float32"],
        steps=_steps(request, largest, on_gpus=bool(chosen)),
        quick=request.quick,
        seconds_a_size=0.3 if request.quick else 2.0,
        deadline_s=request.deadline_s or (90.0 if request.quick else 600.0),
        notes=notes,
    )


def need_torch(machine: Machine) -> None:
    """Every probe's first need."""
    if not machine.has_torch:
        raise TorchMissingError


def choose_gpus(asked: list[int] | None, ranks: int | None, present: Sequence[Gpu]) -> list[Gpu]:
    """Those named, the first so many, or all."""
    by_index = {gpu.index: gpu for gpu in present}
    if asked is not None:
        unknown = [index for index in asked if index not in by_index]
        if unknown:
            there = ", ".join(map(str, sorted(by_index)))
            raise UsageError(f"There is no GPU {unknown[0]} on this node.", f"There are: {there}.")
        return [by_index[index] for index in asked]
    if ranks is not None:
        if ranks > len(by_index):
            raise UsageError(
                f"{ranks} ranks were asked for, and this node has {_gpus(len(by_index))}: each rank needs its own.",
                f"Ask for {len(by_index)} at most, or for the processor with --cpu.",
            )
        return [by_index[index] for index in sorted(by_index)[:ranks]]
    return [by_index[index] for index in sorted(by_index)]


def _check_ranks(ranks: int) -> None:
    if ranks < 2:
        raise UsageError(
            f"An all-reduce takes at least two ranks, and this would be {ranks}.",
            "Name two GPUs or more; `--cpu --ranks 2` tries it out on the processor.",
        )
    if ranks > MOST_RANKS:
        raise UsageError(f"{ranks} ranks are more than {MOST_RANKS}.", "Ask for fewer.")


def refuse_unusable(gpus: Sequence[Gpu], *, force: bool) -> list[str]:
    """Refuse GPUs that can't take part or that somebody uses; what was forced is noted."""
    for gpu in gpus:
        if gpu.state == "lost" or (gpu.state != "ok" and not force):
            raise ProbeError(f"GPU {gpu.index} can't be measured: it is {gpu.state}.", gpu.problem or "")
        if gpu.mig is not None and gpu.mig.enabled:
            raise ProbeError(
                f"GPU {gpu.index} is in MIG mode, whose slices can't take part.",
                "Choose others with --gpus.",
            )
    used = [words for gpu in gpus if (words := _used_by(gpu)) is not None]
    if used and not force:
        raise GpuBusyError(
            f"{'; '.join(used)}.",
            "Wait, choose others with --gpus, or add --force: the figures are then of shared GPUs, and the work on them slows down.",
        )
    return [f"Forced while in use: {'; '.join(used)}."] if used else []


def _used_by(gpu: Gpu) -> str | None:
    """Whose processes compute on it; where they can't be seen, what gives them away."""
    computing = [process for process in gpu.processes or [] if process.kind != "graphics"]
    if computing:
        names = [
            f"{process.name or 'a process'} (PID {process.pid}{f', {process.user}' if process.user else ''})"
            for process in computing
        ]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"GPU {gpu.index} is in use by {', '.join(names[:3])}{more}"
    if gpu.utilization_pct is not None and gpu.utilization_pct > _BUSY_PCT:
        return f"GPU {gpu.index} is {gpu.utilization_pct:.0f} % busy with something that can't be seen from here"
    used = _unexplained_bytes(gpu)
    if used is not None and used > _BUSY_BYTES:
        return f"{used / GIB:.0f} GiB of GPU {gpu.index} are taken by something that can't be seen from here"
    return None


def _unexplained_bytes(gpu: Gpu) -> int | None:
    if gpu.memory_used_bytes is None or gpu.processes:
        return None
    return gpu.memory_used_bytes - (gpu.memory_reserved_bytes or 0)


def _shared_memory_notes(ranks: int, machine: Machine) -> list[str]:
    free = machine.shared_memory_free
    if free is None or free >= ranks * _SHM_A_RANK:
        return []
    words = f"/dev/shm has {free // MIB} MiB free, which is little for {ranks} ranks"  # noqa: S108  # its name
    return [f"{words}: NCCL may fail or be slow where GPUs have no P2P (in a container: --shm-size=1g)."]


def _largest(gpus: Sequence[Gpu], ranks: int, machine: Machine, *, force: bool) -> int:
    """The largest message that memory has room for on each rank."""
    if not gpus:
        return int(machine.memory_available * _MEMORY_SHARE / 2 / ranks)
    free = [
        gpu.memory_total_bytes - gpu.memory_used_bytes
        for gpu in gpus
        if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None
    ]
    least = min(free, default=2 * GIB)
    if least < GIB and not force:
        raise ProbeError(
            f"One of the GPUs has {max(least, 0) // MIB} MiB of memory free, and a probe needs 1024.",
            "`gpuwatch status` shows who holds it; --force tries with what there is.",
        )
    return int(least * _MEMORY_SHARE)


def _steps(request: AllReduceRequest, room: int, *, on_gpus: bool) -> list[Step]:
    most = (4 * GIB if on_gpus else 64 * MIB) if not request.quick else (256 * MIB if on_gpus else 16 * MIB)
    first, last = request.sizes or (KIB, min(most, room))
    if last > room:
        raise UsageError(
            f"Messages of {size_in_words(last)} do not fit: there is room for {size_in_words(_power_below(room))}.",
            "Ask for less with --sizes.",
        )
    sizes = []
    size = first
    while size <= last:
        sizes.append(size)
        size *= 4 if request.quick and size < LATENCY_UP_TO else 2
    return [_step(size, quick=request.quick) for size in sizes]


def _step(size: int, *, quick: bool) -> Step:
    if size <= LATENCY_UP_TO:
        return Step(bytes=size, iterations=200 if quick else 1000, warmup=20)
    return Step(bytes=size, iterations=20, warmup=5)


def _power_below(count: int) -> int:
    return 1 << max(count.bit_length() - 1, 0)


def parse_sizes(text: str) -> tuple[int, int]:
    """`1K:1G` as bytes; a single size stands for itself."""
    first, colon, last = text.partition(":")
    sizes = _size(first), _size(last if colon else first)
    if not _LEAST_BYTES <= sizes[0] <= sizes[1] <= _MOST_BYTES:
        raise ValueError(f"{text!r} is not FROM:TO with 1K ≤ FROM ≤ TO ≤ 64G")
    return sizes


def _size(text: str) -> int:
    unit = {"K": KIB, "M": MIB, "G": GIB}.get(text[-1:].upper())
    digits = text[:-1]
    if unit is None or not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{text!r} is not a size as 64K, 16M or 1G")
    return int(digits) * unit


def size_in_words(count: int) -> str:
    """1048576 → 1 MiB."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} B"


def fabric_between(uuids: Sequence[str], topology: Topology | None) -> str | None:
    """What joins these GPUs: nvswitch, nvlink (each with each), nvlink_partial (some with some), pcie_p2p or pcie."""
    if topology is None:
        return None
    places = [place for place, gpu in enumerate(topology.gpus) if gpu.uuid in uuids]
    words = [topology.matrix[one][other] for one in places for other in places if one != other]
    if not words or any(word is None for word in words):
        return None
    joined = [word for word in words if word is not None and word.startswith("NV")]
    if not joined:
        return "pcie_p2p" if _reach_each_other(places, topology) else "pcie"
    if len(joined) < len(words):
        return "nvlink_partial"
    return "nvswitch" if _behind_switches(places, topology) else "nvlink"


def _reach_each_other(places: Sequence[int], topology: Topology) -> bool:
    """Whether each may read and write the others' memory."""
    return all(
        table is not None and all(table[one][other] == "ok" for one in places for other in places if one != other)
        for table in (topology.p2p_read, topology.p2p_write)
    )


def _behind_switches(places: Sequence[int], topology: Topology) -> bool:
    for place in places:
        nvlink = topology.gpus[place].nvlink
        links = nvlink.links if nvlink is not None and nvlink.links is not None else []
        if not any(link.peer_type == "switch" for link in links):
            return False
    return True


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
