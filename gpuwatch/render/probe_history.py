"""Stored results of probes: the list, and two of them side by side."""

import time
from collections.abc import Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, to_text
from gpuwatch.render.text import DASH, clean, wrap
from gpuwatch.render.units import index_list
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.probes.plan import size_in_words
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, ProbeResult, peak_row

_NOTABLE_PCT = 5.0


def render_history(results: Sequence[ProbeResult], *, width: int, colour: bool, unicode: bool) -> str:
    """One line a run, the newest first."""
    if not results:
        return "No probe has been run here: `gpuwatch probe allreduce --quick` is a start.\n"
    rows = [("", "id", "when", "what", "reached", "state")]
    for number, result in enumerate(results, 1):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(result.started_at))
        rows.append((str(number), result.id, when, _what(result), _reached(result), _state(result)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines: list[Line] = []
    for place, row in enumerate(rows):
        text = "  ".join(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True))
        failed = place > 0 and results[place - 1].passed is False
        lines.append([Span(f" {text.rstrip()}", "dim" if place == 0 else "critical" if failed else "")])
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _what(result: ProbeResult) -> str:
    where = f"GPU {index_list([gpu.index for gpu in result.gpus])}" if result.gpus else f"{result.ranks} ranks, CPU"
    if isinstance(result, AllReduceResult):
        return f"allreduce {where} {result.backend}{', P2P off' if result.p2p_disabled else ''}"
    return f"decode {result.model} {where} {result.backend}"


def _reached(result: ProbeResult) -> str:
    """The one figure to quote."""
    if isinstance(result, AllReduceResult):
        peak = peak_row(result.results)
        return f"{peak.busbw_gb_per_s:.3g} GB/s with {size_in_words(peak.bytes)}" if peak is not None else DASH
    best = max(result.results, key=lambda row: row.tokens_per_s, default=None)
    return f"{best.tokens_per_s:,.3g} tokens/s over {best.tp}" if best is not None else DASH


def _state(result: ProbeResult) -> str:
    if result.state != "done":
        return f"{result.state}: {result.problem.kind}" if result.problem is not None else result.state
    return {True: "passed", False: "not passed", None: "done"}[result.passed]


class ComparedRow(Struct, frozen=True, kw_only=True):
    """One size in both runs."""

    bytes: int
    dtype: str
    a_latency_us_p50: float
    b_latency_us_p50: float
    latency_change_pct: float
    a_busbw_gb_per_s: float
    b_busbw_gb_per_s: float
    busbw_change_pct: float


class Comparison(Struct, frozen=True, kw_only=True):
    """What changed from A to B."""

    schema: int = 1
    a: str
    b: str
    differences: list[str]
    """What makes the two not quite comparable."""
    results: list[ComparedRow]


def compare(a: ProbeResult, b: ProbeResult) -> Comparison:
    """Hold B against A at the sizes that both have."""
    if not isinstance(a, AllReduceResult) or not isinstance(b, AllReduceResult):
        raise UsageError(
            "Only runs of `probe allreduce` are compared size by size.",
            "`probe history` shows runs of `decode` in one list.",
        )
    of_b = {(row.dtype, row.bytes): row for row in b.results}
    rows = [_compared(row, of_b[row.dtype, row.bytes]) for row in a.results if (row.dtype, row.bytes) in of_b]
    if not rows:
        raise UsageError(f"{a.id} and {b.id} have no size and type in common.", "Compare runs with the same --sizes.")
    return Comparison(a=a.id, b=b.id, differences=_differences(a, b), results=rows)


def _compared(a: AllReduceRow, b: AllReduceRow) -> ComparedRow:
    return ComparedRow(
        bytes=a.bytes,
        dtype=a.dtype,
        a_latency_us_p50=a.latency_us_p50,
        b_latency_us_p50=b.latency_us_p50,
        latency_change_pct=100 * (b.latency_us_p50 / a.latency_us_p50 - 1),
        a_busbw_gb_per_s=a.busbw_gb_per_s,
        b_busbw_gb_per_s=b.busbw_gb_per_s,
        busbw_change_pct=100 * (b.busbw_gb_per_s / a.busbw_gb_per_s - 1),
    )


def _differences(a: AllReduceResult, b: AllReduceResult) -> list[str]:
    aspects: list[tuple[str, object, object]] = [
        ("node", a.node, b.node),
        ("backend", a.backend, b.backend),
        ("ranks", a.ranks, b.ranks),
        ("GPUs", index_list([gpu.index for gpu in a.gpus]), index_list([gpu.index for gpu in b.gpus])),
        ("torch", a.torch_version, b.torch_version),
        ("NCCL", a.nccl_version, b.nccl_version),
        ("P2P", "off" if a.p2p_disabled else "on", "off" if b.p2p_disabled else "on"),
        ("state", a.state, b.state),
    ]
    return [f"{what}: {of_a or DASH} and {of_b or DASH}" for what, of_a, of_b in aspects if of_a != of_b]


def render_comparison(comparison: Comparison, *, width: int, colour: bool, unicode: bool) -> str:
    """A table; changes of more than a few percent stand out."""
    lines: list[Line] = [[Span(f" A {comparison.a}")], [Span(f" B {comparison.b}")]]
    for difference in comparison.differences:
        lines += [[Span(f" {text}", "warning text")] for text in wrap(clean(f"not the same, {difference}"), width - 1)]
    heads = ("size", "type", "A p50 µs", "B p50 µs", "change", "A busbw", "B busbw", "change")
    rows = [heads, *(_row(row) for row in comparison.results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    lines.append([])
    for place, row in enumerate(rows):
        spans = [Span(f" {cell:>{wide}} ", "dim" if place == 0 else "") for cell, wide in zip(row, widths, strict=True)]
        if place:
            compared = comparison.results[place - 1]
            spans[4] = Span(spans[4].text, _mood(-compared.latency_change_pct))
            spans[7] = Span(spans[7].text, _mood(compared.busbw_change_pct))
        lines.append(spans)
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _row(row: ComparedRow) -> tuple[str, ...]:
    return (
        size_in_words(row.bytes),
        row.dtype,
        f"{row.a_latency_us_p50:,.1f}",
        f"{row.b_latency_us_p50:,.1f}",
        f"{row.latency_change_pct:+.1f} %",
        f"{row.a_busbw_gb_per_s:,.4g}",
        f"{row.b_busbw_gb_per_s:,.4g}",
        f"{row.busbw_change_pct:+.1f} %",
    )


def _mood(better_pct: float) -> str:
    if better_pct > _NOTABLE_PCT:
        return "ok"
    return "critical text" if better_pct < -_NOTABLE_PCT else ""
