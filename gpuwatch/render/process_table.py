"""Who uses the GPUs: the biggest first to be shown, in the order of the GPUs."""

from collections.abc import Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.columns import ABSENT, Column, choose, draw_row, draw_title, text_column
from gpuwatch.render.text import clean
from gpuwatch.render.units import gib, index_list, whole
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.process import Process

DEFAULT_PROCESSES = 16


class Job(Struct, kw_only=True):
    """One process on all the GPUs it uses."""

    process: Process
    gpus: list[int]
    memory_bytes: int | None
    sm_pct: float | None


def process_lines(frame: Frame, width: int, most: int | None, rest_at: str = "--processes all") -> list[Line]:
    """A rule, and a table of at most `most` processes (None: all), or nothing where there is none."""
    jobs = _jobs(frame)
    if not jobs or most == 0:
        return []
    shown = sorted(jobs, key=lambda job: -(job.memory_bytes or 0))[:most]
    shown.sort(key=lambda job: (job.gpus[0], -(job.memory_bytes or 0), job.process.pid))
    title = f"─ processes ({len(jobs):,}) "
    layout = choose(_columns(shown), width)
    lines: list[Line] = [[Span(title + "─" * max(width - len(title), 0), "dim")], draw_title(layout)]
    lines += [draw_row(layout, position) for position in range(len(shown))]
    if len(shown) < len(jobs):
        lines.append([Span(f" … and {len(jobs) - len(shown):,} more ({rest_at})", "dim")])
    return lines


def _jobs(frame: Frame) -> list[Job]:
    """A process that works on several GPUs is one job: its memory summed, its busiest GPU told."""
    jobs: dict[int, Job] = {}
    for gpu in frame.gpus:
        for process in gpu.processes or ():
            job = jobs.get(process.pid)
            if job is None:
                jobs[process.pid] = Job(
                    process=process, gpus=[gpu.index], memory_bytes=process.memory_bytes, sm_pct=process.sm_pct
                )
                continue
            job.gpus.append(gpu.index)
            known = [value for value in (job.memory_bytes, process.memory_bytes) if value is not None]
            job.memory_bytes = sum(known) if known else None
            job.sm_pct = max((value for value in (job.sm_pct, process.sm_pct) if value is not None), default=None)
    return list(jobs.values())


def _columns(jobs: Sequence[Job]) -> list[Column]:
    columns = [
        text_column("PID", [[Span(str(job.process.pid))] for job in jobs], priority=1, right=True, gap=1),
        text_column("user", [_words(job.process.user) for job in jobs], priority=3, least=8),
        text_column("GPU", [[Span(index_list(job.gpus), "bold")] for job in jobs], priority=0),
        text_column("GiB", [_memory(job) for job in jobs], priority=2, right=True),
    ]
    columns += _optional("SM %", [_share(job) for job in jobs], priority=4, right=True)
    columns += _optional("rank", [_rank(job.process) for job in jobs], priority=5)
    columns += _optional("job", [_job(job.process) for job in jobs], priority=7, least=13)
    columns.append(text_column("command", [_command(job.process) for job in jobs], priority=6, least=20))
    return columns


def _optional(
    title: str, cells: list[Line], *, priority: int, right: bool = False, least: int | None = None
) -> list[Column]:
    if not any(cell and cell != [ABSENT] for cell in cells):
        return []
    return [text_column(title, cells, priority=priority, right=right, least=least)]


def _words(text: str | None) -> Line:
    return [Span(clean(text))] if text else [ABSENT]


def _memory(job: Job) -> Line:
    return [ABSENT] if job.memory_bytes is None else [Span(gib(job.memory_bytes))]


def _share(job: Job) -> Line:
    return [ABSENT] if job.sm_pct is None else [Span(whole(job.sm_pct))]


def _rank(process: Process) -> Line:
    if process.tp_rank is None:
        return [Span(clean(process.split), "dim")] if process.split else []
    of = f"/{process.tp_size}" if process.tp_size is not None else ""
    return [Span(f"TP{process.tp_rank}"), Span(of, "dim")]


def _job(process: Process) -> Line:
    """What a scheduler calls it: the pod, the Slurm job, or the container."""
    if process.slurm_job:
        return [Span(f"slurm {clean(process.slurm_job)}")]
    if process.pod:
        return [Span(f"pod {_short_id(process.pod)}")]
    if process.container:
        return [Span(f"container {_short_id(process.container)}")]
    return []


def _short_id(name: str) -> str:
    """Names as they are; of UUIDs and hashes the first digits, which are enough to search for."""
    cleaned = clean(name)
    digits = cleaned.replace("-", "")
    is_id = len(digits) >= 32 and all(letter in "0123456789abcdefABCDEF" for letter in digits)
    return f"{cleaned[:8]}…" if is_id else cleaned


def _command(process: Process) -> Line:
    text = process.command or process.name
    if text:
        program, space, rest = clean(text).partition(" ")
        return [Span((program.rsplit("/", 1)[-1] or program) + space + rest)]
    if not process.visible:
        return [Span("not visible from here: another container, or gone", "dim")]
    return [ABSENT]
