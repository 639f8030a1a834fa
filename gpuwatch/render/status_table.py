"""`gpuwatch status`: one line a GPU at 80 columns, more facts where there is more room."""

from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span, to_text
from gpuwatch.render.columns import Column, choose, draw_row, draw_title
from gpuwatch.render.facts import facts_of, with_state, worst
from gpuwatch.render.gpu_columns import Row, gpu_columns
from gpuwatch.render.header import finding_lines, header_line, host_line, sentence_lines
from gpuwatch.render.process_table import DEFAULT_PROCESSES, process_lines
from gpuwatch.render.text import DASH, clean, wrap
from gpuwatch.render.units import span_of_time
from gpuwatch_agent.model.absence import SENTENCES
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu

LEAST_WIDTH = 40

# What a dash in the table stands for is worth a word only for the columns that every board should fill.
_CORE = {
    "utilization_pct": "utilisation",
    "memory_used_bytes": "memory",
    "power_w": "power",
    "temperature_c": "temperature",
    "sm_clock_mhz": "clock",
    "processes": "processes",
}


def render_status(
    frame: Frame, *, width: int, colour: bool, unicode: bool, processes: int | None = DEFAULT_PROCESSES, height: int = 0
) -> str:
    """The whole screen as text, no line wider than `width`; `processes` None means all of them, `height` 0 any."""
    width = max(width, LEAST_WIDTH)
    rows = [row for gpu in frame.gpus for row in _rows_of(gpu, frame)]
    marks = [row.mark for row in rows if row.instance is None]
    lines = [header_line(frame, marks, width), *finding_lines(frame, width)]
    lines += _gpu_lines(rows, width) if rows else _no_gpu_lines(frame, width)
    host = host_line(frame, width)
    if host is not None:
        lines.append(host)
    if height:
        # The line above the processes, their titles, and the line that says how many are left out.
        room = height - len(lines) - 3
        processes = 0 if room < 1 else room if processes is None else min(processes, room)
    lines += process_lines(frame, width, processes)
    if height and len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], [Span(f" … {hidden} more lines: the terminal is too low for them", "dim")]]
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _rows_of(gpu: Gpu, frame: Frame) -> list[Row]:
    """One row for the GPU, and one for each slice of it."""
    facts = with_state(gpu, facts_of(gpu, frame.gpus))
    found = [finding.severity for finding in frame.findings if gpu.index in finding.gpus]
    mark = gpu.state if gpu.state != "ok" else worst([*found, *(fact.severity for fact in facts)])
    rows = [Row(gpu=gpu, siblings=frame.gpus, facts=facts, mark=mark)]
    if gpu.mig is not None and gpu.mig.enabled:
        rows += [Row(gpu=gpu, siblings=frame.gpus, instance=instance) for instance in gpu.mig.instances]
    return rows


def _gpu_lines(rows: Sequence[Row], width: int) -> list[Line]:
    layout = choose(gpu_columns(rows, width), width)
    lines = [draw_title(layout)]
    for position, row in enumerate(rows):
        lines.append(draw_row(layout, position))
        if row.instance is None and row.gpu.state != "ok":
            lines += _problem_lines(row.gpu, width)
    return [*lines, *_legend_lines([row.gpu for row in rows if row.instance is None], layout, width)]


def _problem_lines(gpu: Gpu, width: int) -> list[Line]:
    """What happened to a GPU that does not answer, right below its row."""
    if gpu.problem:
        sentence = gpu.problem
    elif gpu.state == "lost":
        sentence = "The GPU does not answer any more: look for Xid 79 in `dmesg`."
    else:
        sentence = "The driver has not answered for this GPU lately; it is asked again."
    if gpu.age_s is not None:
        sentence += f" Values above are {span_of_time(gpu.age_s)} old."
    return [
        [Span("   └ " if position == 0 else "     ", "dim"), Span(text, f"{gpu.state} text")]
        for position, text in enumerate(wrap(clean(sentence), width - 5))
    ]


def _legend_lines(gpus: Sequence[Gpu], layout: Sequence[tuple[Column, int]], width: int) -> list[Line]:
    """What the dashes stand for, where a board leaves out what nearly all have."""
    reasons: dict[str, list[str]] = {}
    for field, words in _CORE.items():
        found = {
            gpu.absent[field]
            for gpu in gpus
            if gpu.state == "ok" and field in gpu.absent and getattr(gpu, field) is None
        }
        for reason in sorted(found):
            reasons.setdefault(SENTENCES[reason], []).append(words)
    if not reasons or not layout:
        return []
    text = "; ".join(f"{', '.join(words)}: {reason}" for reason, words in reasons.items())
    return [
        [Span(f" {DASH if position == 0 else ' '} ", "dim"), Span(line, "dim")]
        for position, line in enumerate(wrap(text, width - 3))
    ]


def _no_gpu_lines(frame: Frame, width: int) -> list[Line]:
    if frame.trouble is not None:
        return []
    return sentence_lines(
        "info",
        "The driver works and knows of no GPU on this node.",
        "If there should be one: `lspci | grep -i nvidia` shows whether the board is on the bus, `dmesg | grep -i nvrm` why the "
        "driver leaves it out. `gpuwatch status --sim dgx-h100-8` shows a simulated node.",
        width,
    )
