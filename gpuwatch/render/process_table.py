"""Who uses the GPUs: the biggest first to be shown, in the order of the GPUs."""

from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.columns import ABSENT, Column, choose, draw_row, draw_title, text_column
from gpuwatch.render.job_cells import (
    Job,
    command_cell,
    gpu_cell,
    jobs_of,
    memory_cell,
    rank_cell,
    scheduler_cell,
    share_cell,
    user_cell,
)
from gpuwatch_agent.model.frame import Frame

DEFAULT_PROCESSES = 16


def process_lines(frame: Frame, width: int, most: int | None, rest_at: str = "--processes all") -> list[Line]:
    """A rule, and a table of at most `most` processes (None: all), or nothing where there is none."""
    jobs = jobs_of(frame)
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


def _columns(jobs: Sequence[Job]) -> list[Column]:
    columns = [
        text_column("PID", [[Span(str(job.process.pid))] for job in jobs], priority=1, right=True, gap=1),
        text_column("user", [user_cell(job) for job in jobs], priority=3, least=8),
        text_column("GPU", [gpu_cell(job) for job in jobs], priority=0),
        text_column("GiB", [memory_cell(job) for job in jobs], priority=2, right=True),
    ]
    columns += _optional("SM %", [share_cell(job) for job in jobs], priority=4, right=True)
    columns += _optional("rank", [rank_cell(job) for job in jobs], priority=5)
    columns += _optional("job", [scheduler_cell(job) for job in jobs], priority=7, least=13)
    columns.append(text_column("command", [command_cell(job) for job in jobs], priority=6, least=20))
    return columns


def _optional(
    title: str, cells: list[Line], *, priority: int, right: bool = False, least: int | None = None
) -> list[Column]:
    if not any(cell and cell != [ABSENT] for cell in cells):
        return []
    return [text_column(title, cells, priority=priority, right=right, least=least)]
