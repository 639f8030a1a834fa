"""The list of processes: its columns by the room there is, its rows, and the heads of groups."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.columns import ABSENT, Column, choose, draw_row, text_column
from gpuwatch.render.job_cells import (
    Job,
    command_cell,
    command_words,
    gpu_cell,
    memory_cell,
    rank_cell,
    scheduler_cell,
    share_cell,
    user_cell,
)
from gpuwatch.render.text import SIGNS, clean
from gpuwatch.render.units import gib, whole
from gpuwatch.tui.processes.local import Facts, own_facts
from gpuwatch.tui.processes.order import BY_TITLE, Order
from gpuwatch.tui.processes.rows import Row
from gpuwatch_agent.model.finding import Finding

_MOST_USER, _MOST_JOB = 16, 40
_LEAST_COMMAND, _ROOMY_COMMAND, _ROOMY = 20, 36, 100
LOCAL_TITLES = ("CPU %", "host GiB")


class Known(NamedTuple):
    """What is known beside the rows: of this machine's processes, and of what was found about some."""

    facts: Mapping[int, Facts]
    tagged: frozenset[str]
    blamed: Mapping[int, str]
    """Severity by PID, of findings that name a process."""
    now: float
    not_local: str | None


def blamed(findings: Sequence[Finding]) -> dict[int, str]:
    """Which processes findings name, with the finding's severity."""
    named: dict[int, str] = {}
    for finding in findings:
        for key in ("foreign_pid", "pid"):
            pid = finding.evidence.get(key)
            if isinstance(pid, int | float):
                worse = named.get(int(pid)) == "critical"
                named[int(pid)] = "critical" if worse else finding.severity
    return named


def age(seconds: float) -> str:
    """How long it runs, so coarse that it rarely changes: 34 s, 12m, 3h05m, 12d 4h."""
    minutes = int(max(seconds, 0)) // 60
    if minutes < 2:
        return f"{int(max(seconds, 0)) // 10 * 10} s"
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24:,}d {hours % 24}h"


def list_layout(shown: Sequence[Row], everyone: Sequence[Job], known: Known, width: int) -> list[tuple[Column, int]]:
    """The columns for the rows on the screen; what is off the screen still holds its width, so that scrolling moves none."""
    rows = [row for row in shown if row.job is not None]
    jobs = [row.job for row in rows if row.job is not None]
    facts = [own_facts(known.facts, job.process.pid, job.process.started_at) for job in jobs]
    columns = _columns(rows, jobs, everyone, facts, known)
    columns[-1].least = min(columns[-1].most, _LEAST_COMMAND if width < _ROOMY else _ROOMY_COMMAND)
    return choose(columns, width)


def _columns(
    rows: Sequence[Row],
    jobs: Sequence[Job],
    everyone: Sequence[Job],
    facts: Sequence[Facts | None],
    known: Known,
) -> list[Column]:
    # What can't be known here takes no room from what is.
    later = 10 if known.not_local else 0

    def cells(draw: Callable[[Job], Line]) -> list[Line]:
        return [draw(job) for job in jobs]

    def if_any(has: Callable[[Job], object], column: Column) -> list[Column]:
        return [column] if any(has(job) for job in everyone) else []

    digits = max((len(str(job.process.pid)) for job in everyone), default=3)
    names = max((len(clean(job.process.user or "")) for job in everyone), default=4)
    marks: list[Line] = [_mark(row, known) for row in rows]
    pids: list[Line] = [[Span(str(job.process.pid), _style(row, known))] for row, job in zip(rows, jobs, strict=True)]
    return [
        _wide(text_column("", marks, priority=0, gap=0), 2),
        _wide(text_column("PID", pids, priority=0, right=True, gap=0), digits),
        _wide(text_column("user", cells(user_cell), priority=4, least=8), min(names, _MOST_USER), _MOST_USER),
        _wide(text_column("GPU", cells(_gpus), priority=2), 3),
        *if_any(_slice, text_column("MIG", cells(lambda job: [Span(_slice(job))]), priority=7)),
        _wide(text_column("GiB", cells(_held), priority=3, right=True), 5),
        *if_any(lambda job: job.sm_pct is not None, _wide(_share(jobs), 4)),
        _wide(text_column("CPU %", [_cpu(one) for one in facts], priority=6 + later, right=True), 5),
        _wide(text_column("host GiB", [_rss(one) for one in facts], priority=9 + later, right=True), 8),
        _wide(text_column("time", cells(lambda job: _time(job, known.now)), priority=8, right=True), 6),
        *if_any(rank_cell, text_column("rank", cells(rank_cell), priority=7)),
        *if_any(
            scheduler_cell,
            _wide(text_column("job", cells(scheduler_cell), priority=10, least=13), 0, _MOST_JOB),
        ),
        text_column("command", [_command(row) for row in rows], priority=1, least=20),
    ]


def _wide(column: Column, least: int, most: int | None = None) -> Column:
    """At least so many cells, whatever is on the screen just now."""
    column.most = max(min(column.most, most) if most is not None else column.most, least)
    column.least = min(max(column.least, least), column.most)
    return column


def _style(row: Row, known: Known) -> str:
    if row.members[0] in known.tagged:
        return "tagged"
    severity = known.blamed.get(row.job.process.pid) if row.job is not None else None
    return f"{severity} text" if severity else "dim" if row.parent else ""


def _mark(row: Row, known: Known) -> Line:
    if row.members[0] in known.tagged:
        return [Span("*", "tagged")]
    severity = known.blamed.get(row.job.process.pid) if row.job is not None else None
    return [Span(SIGNS[severity], severity)] if severity else []


def _gpus(job: Job) -> Line:
    silent = next((part.gpu.state for part in job.parts if part.gpu.state != "ok"), None)
    cell = gpu_cell(job) if job.gpus else []
    return [Span(cell[0].text, f"{silent} text"), Span(SIGNS[silent], silent)] if silent and cell else cell


def _slice(job: Job) -> str:
    """The MIG instance's profile, as 3g.40gb."""
    names: list[str] = []
    for part in job.parts:
        wanted = part.process.gpu_instance
        if wanted is None:
            continue
        found = next(
            (one for one in (part.gpu.mig.instances if part.gpu.mig else ()) if one.gpu_instance == wanted), None
        )
        names.append(clean(found.name).rpartition("MIG ")[2] if found is not None and found.name else f"#{wanted}")
    return ",".join(dict.fromkeys(names))


def _held(job: Job) -> Line:
    return memory_cell(job) if job.gpus else []


def _share(jobs: Sequence[Job]) -> Column:
    cells: list[Line] = []
    for job in jobs:
        idle = job.sm_pct is not None and job.sm_pct < 0.5
        cells.append([Span(whole(0), "dim")] if idle else share_cell(job) if job.gpus else [])
    return text_column("SM %", cells, priority=5, right=True)


def _cpu(one: Facts | None) -> Line:
    if one is None or one.cpu_pct is None:
        return [ABSENT]
    return [Span(whole(one.cpu_pct), "dim" if one.cpu_pct < 0.5 else "")]


def _rss(one: Facts | None) -> Line:
    return [ABSENT] if one is None or one.rss_bytes is None else [Span(gib(one.rss_bytes))]


def _time(job: Job, now: float) -> Line:
    return [ABSENT] if job.process.started_at is None else [Span(age(now - job.process.started_at), "dim")]


def _command(row: Row) -> Line:
    if row.job is None:
        return []
    branch = [Span(row.prefix, "rule")] if row.prefix else []
    if row.parent:
        return [*branch, Span(command_words(row.job.process), "dim")]
    return [*branch, *command_cell(row.job)]


def head_line(row: Row, tagged: frozenset[str], width: int) -> Line:
    """A group's name and its sums."""
    whole_group = bool(row.members) and tagged.issuperset(row.members)
    mark = Span("* ", "tagged") if whole_group else Span("─ ", "rule")
    sums = f" {row.sums} ─"
    title = fit_line([Span(clean(row.title), "title")], max(width - len(sums) - 6, 8))
    line: Line = [mark, *title, Span(" ")]
    line.append(Span("─" * max(width - line_cells(line) - len(sums), 1), "rule"))
    return fit_line([*line, Span(sums, "dim")], width)


class Stretch(NamedTuple):
    """Where a column's title stands."""

    x: int
    width: int
    title: str


def title_line(layout: Sequence[tuple[Column, int]], order: Order, turned: bool) -> tuple[Line, list[Stretch]]:
    """The titles, the one that sorts lit up with its direction; and where each one is."""
    cells = [Span(" ")] * sum(column.gap + width for column, width in layout)
    stretches: list[Stretch] = []
    x = 0
    for column, width in layout:
        start = x + column.gap + (width - len(column.title) if column.right else 0)
        here = column.title == order.title
        for offset, letter in enumerate(column.title):
            cells[start + offset] = Span(letter, "accent" if here else "dim")
        arrow = start - 1 if column.right else start + len(column.title)
        if here and 0 <= arrow < len(cells):
            # It stands in the gap beside the title, so that nothing moves when another column sorts.
            cells[arrow] = Span("↓" if order.biggest_first != turned else "↑", "accent")
        if column.title in BY_TITLE:
            stretches.append(Stretch(x, column.gap + width, column.title))
        x += column.gap + width
    return _joined(cells), stretches


def _joined(cells: Sequence[Span]) -> Line:
    """Neighbours of one style as one span."""
    line: Line = []
    for cell in cells:
        if line and line[-1].style == cell.style:
            line[-1] = Span(line[-1].text + cell.text, cell.style)
        else:
            line.append(cell)
    return line


def process_line(layout: Sequence[tuple[Column, int]], position: int) -> Line:
    """The row of that number among the processes on the screen."""
    return draw_row(layout, position)
