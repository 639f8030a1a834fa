"""Processes as people think of them, one row over all the GPUs it uses, and its cells for every table that shows them."""

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.columns import ABSENT
from gpuwatch.render.text import clean
from gpuwatch.render.units import gib, index_list, whole
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process

NOT_VISIBLE = "not visible from here: another container, or gone"


_RANK_PREFIXES = {"data": "DP", "pipeline": "PP"}


class Part(Struct, frozen=True):
    """What a process is on one GPU."""

    gpu: Gpu
    process: Process


class Job(Struct, kw_only=True):
    """One process on all the GPUs it uses."""

    process: Process
    gpus: list[int]
    memory_bytes: int | None
    sm_pct: float | None
    parts: list[Part] = []


def job_of(parts: list[Part]) -> Job:
    """Its memory summed, its busiest GPU told."""
    if len(parts) == 1:
        process = parts[0].process
        return Job(
            process=process,
            gpus=[parts[0].gpu.index],
            memory_bytes=process.memory_bytes,
            sm_pct=process.sm_pct,
            parts=parts,
        )
    memory = [part.process.memory_bytes for part in parts if part.process.memory_bytes is not None]
    return Job(
        process=parts[0].process,
        gpus=[part.gpu.index for part in parts],
        memory_bytes=sum(memory) if memory else None,
        sm_pct=max((part.process.sm_pct for part in parts if part.process.sm_pct is not None), default=None),
        parts=parts,
    )


def jobs_of(frame: Frame) -> list[Job]:
    """All processes of the frame, in the order in which the GPUs name them."""
    found: dict[int, list[Part]] = {}
    for gpu in frame.gpus:
        for process in gpu.processes or ():
            found.setdefault(process.pid, []).append(Part(gpu, process))
    return [job_of(parts) for parts in found.values()]


def user_cell(job: Job) -> Line:
    """Who runs it."""
    return [Span(clean(job.process.user))] if job.process.user else [ABSENT]


def gpu_cell(job: Job) -> Line:
    """On which GPUs."""
    return [Span(index_list(job.gpus), "bold")]


def memory_cell(job: Job) -> Line:
    """How much of the GPUs' memory it holds, in GiB."""
    return [ABSENT] if job.memory_bytes is None else [Span(gib(job.memory_bytes))]


def share_cell(job: Job) -> Line:
    """How much of the SMs' time it takes, on its busiest GPU."""
    return [ABSENT] if job.sm_pct is None else [Span(whole(job.sm_pct))]


def rank_cell(job: Job) -> Line:
    """Its rank in its group, or how the job shares its GPUs."""
    process = job.process
    if process.tp_rank is None:
        return [Span(clean(process.split), "dim")] if process.split else []
    of = f"/{process.tp_size}" if process.tp_size is not None else ""
    return [Span(rank_name(process)), Span(of, "dim")]


def rank_name(process: Process) -> str:
    """TP3, DP0 or PP1, by how its job shares the GPUs; empty where it has no rank."""
    return rank_word(process.split, process.tp_rank)


def rank_word(split: str | None, rank: int | None) -> str:
    """The same of a rank in a group that is split so."""
    return "" if rank is None else f"{_RANK_PREFIXES.get(split or '', 'TP')}{rank}"


def scheduler_cell(job: Job) -> Line:
    """What a scheduler calls it: the pod, the Slurm job, or the container."""
    words = scheduler_words(job.process)
    return [Span(words)] if words else []


def scheduler_words(process: Process) -> str:
    """The same as plain words; empty where no scheduler knows it."""
    if process.slurm_job:
        return f"slurm {clean(process.slurm_job)}"
    if process.pod:
        return f"pod {short_id(process.pod)}"
    if process.container:
        return f"container {short_id(process.container)}"
    return ""


def short_id(name: str) -> str:
    """Names as they are; of UUIDs and hashes the first digits, which are enough to search for."""
    cleaned = clean(name)
    digits = cleaned.replace("-", "")
    is_id = len(digits) >= 32 and all(letter in "0123456789abcdefABCDEF" for letter in digits)
    return f"{cleaned[:8]}…" if is_id else cleaned


def command_cell(job: Job) -> Line:
    """Its command line without the program's folder, or why there is none."""
    words = command_words(job.process)
    if words:
        return [Span(words)]
    return [ABSENT] if job.process.visible else [Span(NOT_VISIBLE, "dim")]


def command_words(process: Process) -> str:
    """The same as plain words; empty where it is not known."""
    text = process.command or process.name
    if not text:
        return ""
    program, space, rest = clean(text).partition(" ")
    return (program.rsplit("/", 1)[-1] or program) + space + rest
