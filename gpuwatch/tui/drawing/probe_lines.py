"""Probes in words: what each would answer on this node, and what was measured, beside the time before."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import SIGNS, clean, wrap
from gpuwatch.render.units import gigabytes_per_s, index_list, span_of_time
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.probe import ProbeFigure, ProbeKind, ProbeOutcome


class Question(NamedTuple):
    """One kind of probe and what it is for."""

    kind: ProbeKind
    name: str
    asks: str
    least_gpus: int


QUESTIONS = (
    Question("allreduce", "all-reduce", "How fast do all GPUs exchange together, from small messages to large?", 2),
    Question("p2p", "pairs", "Is any pair of GPUs slower at exchanging than the others?", 2),
    Question("decode", "decode", "How many tokens a second would a model decode on one GPU, two, and all?", 1),
    Question(
        "bandwidth", "memory, matmul", "Does each GPU reach the memory bandwidth and the arithmetic of its board?", 1
    ),
    Question("tokens", "tokens", "How many tokens a second does the server that runs here really give?", 1),
)
_NAMES = {question.kind: question.name for question in QUESTIONS}
_NAME_CELLS = 16
# Below so much nobody should look for a reason: runs differ.
_NOISE = 0.02


def name_of(kind: ProbeKind) -> str:
    """What the kind is called on the screen."""
    return _NAMES[kind]


def question_lines(gpus: Sequence[Gpu], width: int) -> list[Line]:
    """What there is to ask, and where this node can't answer."""
    present = sum(gpu.state == "ok" for gpu in gpus)
    lines: list[Line] = []
    for question in QUESTIONS:
        possible = present >= question.least_gpus
        on = f"on {present} GPU{'s' if present != 1 else ''}" if possible else _why_not(question, present)
        texts = wrap(f"{question.asks} {on[:1].upper()}{on[1:]}.", max(width - _NAME_CELLS - 3, 20))
        for place, text in enumerate(texts):
            name = question.name if place == 0 else ""
            lines.append([Span(f" {name:<{_NAME_CELLS}}", "bold" if possible else "dim"), Span(text, "dim")])
    return lines


def _why_not(question: Question, present: int) -> str:
    wanted = "two GPUs" if question.least_gpus == 2 else "a GPU"
    return f"not here: it takes {wanted}, and {'none answers' if present == 0 else 'one answers'}"


def outcome_row(outcome: ProbeOutcome, now: float, width: int) -> Line:
    """Sign, kind, GPUs, the first figure, and when."""
    sign = "info" if outcome.passed is None else "ok" if outcome.passed else "critical"
    gpus = f"GPU {index_list(outcome.gpus)}" if outcome.gpus else "no GPU"
    tail = f" {span_of_time(now - outcome.finished_at)} ago "
    figure = value_in_words(outcome.figures[0]) if outcome.figures else ""
    line = [
        Span(" "),
        Span(SIGNS[sign], sign),
        Span(f" {name_of(outcome.kind):<{_NAME_CELLS}}"),
        Span(f"{gpus:<12}", "dim"),
        Span(figure, "bold"),
    ]
    line = fit_line(line, max(width - len(tail), 10))
    return [*line, Span(" " * max(width - line_cells(line) - len(tail), 0)), Span(tail, "dim")]


def outcome_lines(outcome: ProbeOutcome, before: ProbeOutcome | None, width: int) -> list[Line]:
    """The verdict, how it was measured, and each figure beside the time before."""
    sign = "info" if outcome.passed is None else "ok" if outcome.passed else "critical"
    words = clean(outcome.verdict) or "It ended without a verdict."
    lines: list[Line] = []
    for place, text in enumerate(wrap(words, max(width - 4, 20))):
        lines.append([Span(" "), Span(SIGNS[sign] if place == 0 else " ", sign), Span(f" {text}", f"{sign} text")])
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(outcome.started_at))
    took = span_of_time(outcome.finished_at - outcome.started_at)
    by = f" · {clean(outcome.backend)}" if outcome.backend else ""
    lines.append(
        [Span(f"   {began}, took {took} · {outcome.ranks} rank{'s' if outcome.ranks != 1 else ''}{by}", "dim")]
    )
    if not outcome.figures:
        return lines
    than = f"{'before':>14}  change" if before is not None else ""
    lines += [[], [Span(f"   {'':<34}{'now':>14}{than}", "dim")]]
    lines += [_figure_line(figure, _same_figure(figure, before)) for figure in outcome.figures]
    if before is not None:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(before.finished_at))
        lines.append([Span(f"   before: {at}", "dim")])
    return [fit_line(line, width) for line in lines]


def outcome_before(outcome: ProbeOutcome, outcomes: Sequence[ProbeOutcome]) -> ProbeOutcome | None:
    """The last one of the same kind on the same GPUs that had ended before this one began."""
    earlier = [
        one
        for one in outcomes
        if one.kind == outcome.kind and one.gpus == outcome.gpus and one.finished_at <= outcome.started_at
    ]
    return max(earlier, key=lambda one: one.finished_at, default=None)


def _same_figure(figure: ProbeFigure, before: ProbeOutcome | None) -> ProbeFigure | None:
    of = (figure.name, figure.gpu, figure.model, figure.tp)
    figures = before.figures if before is not None else []
    return next((one for one in figures if (one.name, one.gpu, one.model, one.tp) == of), None)


def _figure_line(figure: ProbeFigure, before: ProbeFigure | None) -> Line:
    line = [Span(f"   {_figure_name(figure):<34}"), Span(f"{value_in_words(figure):>14}", "bold")]
    if before is None:
        return line
    line.append(Span(f"{value_in_words(before):>14}", "dim"))
    if before.value:
        change = figure.value / before.value - 1
        worse = change > _NOISE if figure.name == "allreduce_latency_s" else change < -_NOISE
        words = "  as before" if abs(change) <= _NOISE else f"  {change * 100:+.0f} %"
        line.append(Span(f"{words} {SIGNS['warning']}" if worse else words, "warning text" if worse else "dim"))
    return line


def _figure_name(figure: ProbeFigure) -> str:
    """What the number is, and what of the probe it belongs to."""
    name = {
        "allreduce_bus_bandwidth_bytes_per_s": "bus bandwidth",
        "allreduce_latency_s": "latency",
        "decode_tokens_per_s": "tokens",
        "decode_scaling_ratio": "scaling",
        "memory_bandwidth_bytes_per_s": "memory bandwidth",
        "matmul_flops": "matmul",
    }[figure.name]
    of = [
        clean(figure.model) if figure.model else "",
        f"TP {figure.tp}" if figure.tp is not None else "",
        f"GPU {figure.gpu}" if figure.gpu is not None else "",
    ]
    return " ".join([name, *(part for part in of if part)])


def value_in_words(figure: ProbeFigure) -> str:
    """The number with its unit."""
    if figure.name.endswith("bandwidth_bytes_per_s"):
        return f"{gigabytes_per_s(figure.value)} GB/s"
    if figure.name == "allreduce_latency_s":
        return f"{figure.value * 1e6:.1f} µs"
    if figure.name == "matmul_flops":
        return f"{figure.value / 1e12:,.0f} TFLOP/s"
    if figure.name == "decode_scaling_ratio":
        return f"{figure.value * 100:.0f} % of ideal"
    return f"{figure.value:,.1f} tok/s"
