"""Everything known of one process: where it runs, what it belongs to, its past on the GPUs, its environment."""

import time
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.columns import ABSENT
from gpuwatch.render.job_cells import NOT_VISIBLE, Job, command_words
from gpuwatch.render.text import cells_of, clean, wrap
from gpuwatch.render.units import gib, index_list, span_of_time, whole
from gpuwatch.tui.drawing.area import area_lines
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.processes.environment import MASK, Environment
from gpuwatch.tui.processes.local import Facts, own_facts, why_not_local
from gpuwatch.tui.processes.trace import Sample

_WORD_CELLS = 13
_LEAST_TWO_COLUMNS = 110
_LEAST_CHART, _MOST_CHART = 4, 12


class Past(Struct, frozen=True):
    """What the charts show: one sample a cell, the newest last."""

    samples: Sequence[Sample | None]
    step_s: int


def chart_cells(width: int) -> int:
    """How many samples one chart has room for."""
    return max((width - 3) // 2, 8)


def detail_title(job: Job, keys: str, width: int) -> Line:
    """A rule with the process on it, and the keys that lead on."""
    name = f"{job.process.pid} {command_words(job.process)}".strip()
    tail = f" {keys} " if keys else ""
    title = fit_line([Span("─ ", "rule"), Span(name, "title"), Span(" ")], max(width - len(tail) - 3, 12))
    rule = Span("─" * max(width - line_cells(title) - len(tail) - 1, 0), "rule")
    return fit_line([*title, rule, Span(tail, "dim"), Span("─", "rule")], width)


def detail_lines(
    job: Job, facts: Mapping[int, Facts], past: Past | None, moment: Moment, size: tuple[int, int]
) -> list[Line]:
    """The pairs, the whole command line, and charts as high as there is room for."""
    width, height = size
    pairs = list(_pairs(job, facts, moment.frame.taken_at, why_not_local(moment)))
    lines = _in_columns(pairs, width)
    command = job.process.command or job.process.name
    told = clean(command) if command else NOT_VISIBLE if not job.process.visible else "–"
    lines += _pair_lines("command", told, width, "" if command else "dim")
    if past is not None and job.gpus:
        room = min(max(height - len(lines) - 2, _LEAST_CHART), _MOST_CHART)
        lines += [[], *_charts(job, past, width, room)]
    return lines


def _pairs(job: Job, facts: Mapping[int, Facts], now: float, not_local: str | None) -> Iterator[tuple[str, str, str]]:
    """A word, its value, and the value's style."""
    process = job.process
    one = own_facts(facts, process.pid, process.started_at)
    yield _known("user", process.user, "not told" if process.visible else NOT_VISIBLE)
    if process.started_at is None:
        yield _known("started", None, "not told")
    else:
        begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.started_at))
        yield "started", f"{begun}, {span_of_time(now - process.started_at)} ago", ""
    yield from _on_gpus(job)
    if process.tp_rank is not None or process.tp_group is not None:
        rank = f"TP{process.tp_rank}" if process.tp_rank is not None else "not known"
        yield "rank", rank + (f" of {process.tp_size}" if process.tp_size is not None else ""), ""
        yield _known("group", process.tp_group, "none known")
        yield _known("known from", process.tp_source, "not told")
    for word, value in (("slurm job", process.slurm_job), ("pod", process.pod), ("container", process.container)):
        if value:
            yield word, clean(value), ""
    if process.visible_gpus is not None:
        yield "may use GPUs", clean(process.visible_gpus) or "none", ""
    if process.kind:
        yield "context", clean(process.kind), ""
    why = not_local or ("it belongs to another PID namespace" if not process.visible else "not read yet")
    yield _known("CPU", None if one is None or one.cpu_pct is None else f"{one.cpu_pct:.0f} % of a core", why)
    yield _known("host memory", None if one is None or one.rss_bytes is None else f"{gib(one.rss_bytes)} GiB", why)
    yield _known("parents", _ancestry(process.pid, facts) if one is not None else None, why)
    yield _known("cgroup", one.cgroup.removeprefix("0::") if one is not None and one.cgroup else None, why)


def _known(word: str, value: str | None, reason: str) -> tuple[str, str, str]:
    return (word, clean(value), "") if value else (word, f"{ABSENT.text} {reason}", "dim")


def _on_gpus(job: Job) -> Iterator[tuple[str, str, str]]:
    if not job.gpus:
        yield "GPUs", "none itself: it is shown for its children", "dim"
        return
    if len(job.parts) > 1:
        held = f", {gib(job.memory_bytes)} GiB in all" if job.memory_bytes is not None else ""
        yield "GPUs", f"{index_list(job.gpus)}{held}", ""
    for part in job.parts:
        memory = part.process.memory_bytes
        share = part.process.sm_pct
        words = [
            f"{gib(memory)} GiB" if memory is not None else "– GiB",
            f"SM {whole(share)} %" if share is not None else "SM –",
        ]
        if part.process.gpu_instance is not None:
            words.append(f"MIG instance {part.process.gpu_instance}")
        if part.gpu.state != "ok":
            words.append(f"the GPU is {part.gpu.state}")
        yield f"GPU {part.gpu.index}", " · ".join(words), ""


def _ancestry(pid: int, facts: Mapping[int, Facts]) -> str:
    """From the nearest up."""
    words: list[str] = []
    one = facts.get(pid)
    for _ in range(16):
        one = facts.get(one.ppid) if one is not None and one.ppid is not None else None
        if one is None:
            break
        words.append(f"{one.pid} {clean(one.name or '?')}")
    return " ← ".join(words) or "none"


def _in_columns(pairs: Sequence[tuple[str, str, str]], width: int) -> list[Line]:
    """Two pairs a line where both fit; what is long has lines of its own, below."""
    if width < _LEAST_TWO_COLUMNS:
        return [line for word, value, style in pairs for line in _pair_lines(word, value, width, style)]
    half = width // 2
    short = [pair for pair in pairs if cells_of(pair[1]) <= half - _WORD_CELLS - 3]
    lines: list[Line] = []
    down = -(-len(short) // 2)
    for y in range(down):
        left = _pair_lines(*short[y][:2], half, short[y][2])[0]
        right = _pair_lines(*short[down + y][:2], half, short[down + y][2])[0] if down + y < len(short) else []
        lines.append([*left, Span(" " * (half - line_cells(left))), *right])
    rest = [pair for pair in pairs if pair not in short]
    return lines + [line for word, value, style in rest for line in _pair_lines(word, value, width, style)]


def _pair_lines(word: str, value: str, width: int, style: str = "") -> list[Line]:
    parts = wrap(value, max(width - _WORD_CELLS - 2, 16)) or [""]
    return [
        [Span(f" {word if position == 0 else '':<{_WORD_CELLS}}", "dim"), Span(part, style)]
        for position, part in enumerate(parts)
    ]


def _charts(job: Job, past: Past, width: int, height: int) -> list[Line]:
    """Its memory against that of its GPUs, and its share of the SMs, beside each other."""
    cells = chart_cells(width)
    total = sum({part.gpu.uuid: part.gpu.memory_total_bytes or 0 for part in job.parts}.values())
    memory = [
        None if sample is None or sample.memory_bytes is None else float(sample.memory_bytes) for sample in past.samples
    ]
    shares = [None if sample is None else sample.sm_pct for sample in past.samples]
    most = float(total) or max((value for value in memory if value is not None), default=1.0)
    span = span_of_time(past.step_s * cells)
    held = f"{gib(job.memory_bytes)} GiB" if job.memory_bytes is not None else "–"
    of = f" of {gib(total)}" if total else ""
    share = f"{whole(job.sm_pct)} %" if job.sm_pct is not None else "–"
    left = [
        [Span(" GPU memory ", "dim"), Span(held), Span(f"{of}, last {span}", "dim")],
        *area_lines(memory[-cells:], (0.0, most), height, "chart"),
    ]
    right = [
        [Span("SM share ", "dim"), Span(share), Span(f" of 100, last {span}", "dim")],
        *area_lines(shares[-cells:], (0.0, 100.0), height, "chart"),
    ]
    lines: list[Line] = []
    for position, (one, other) in enumerate(zip(left, right, strict=True)):
        line = fit_line(one if position == 0 else [Span(" "), *one], cells + 1)
        lines.append([*line, Span(" " * (cells + 2 - line_cells(line))), *fit_line(other, cells)])
    return lines


def environment_lines(environment: Environment | None, width: int) -> list[Line]:
    """Names and values, one below the other."""
    if environment is None:
        return [[Span(" Reading …", "dim")]]
    if environment.refusal is not None:
        return [[Span(f" {text}", "dim")] for text in wrap(environment.refusal, max(width - 2, 16))]
    widest = max(cells_of(clean(name)) for name, _ in environment.variables)
    names = min(widest, max(width // 3, 12))
    lines: list[Line] = []
    for name, value in environment.variables:
        told = clean(name)
        for position, part in enumerate(wrap(clean(value), max(width - names - 4, 12)) or [""]):
            word = fit_line([Span(told if position == 0 else "", "accent")], names)
            pad = Span(" " * (names - line_cells(word)))
            lines.append([Span(" "), *word, pad, Span("  "), Span(part, "dim" if part == MASK else "")])
    return lines
