"""A result of a probe: a table whose last column is the plot of what counts (bandwidth over size), and the verdict."""

import csv
import io

from gpuwatch.render.ansi import Line, Span, line_cells, to_text
from gpuwatch.render.text import DASH, bar, clean, wrap
from gpuwatch.render.units import board_name, index_list, span_of_time, whole
from gpuwatch_agent.probes.expectations import FABRICS
from gpuwatch_agent.probes.plan import size_in_words
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, DecodeRow, ProbeResult, kind_of

_HEADS = ("size", "calls", "p50 µs", "p99 µs", "algbw GB/s", "busbw GB/s", "wrong")
_DECODE_HEADS = ("tp", "steps", "tokens/s", "p50 ms", "p99 ms", "all-reduce", "efficiency", "read GB/s")
_LEAST_PLOT, _MOST_PLOT = 10, 50
_RANKS_SHOWN = 16


def render_result(result: ProbeResult, *, width: int, colour: bool, unicode: bool) -> str:
    """Everything of one run, no line wider than `width`."""
    width = max(width, 40)
    lines: list[Line] = [_title(result)]
    sources: list[str] = []
    if isinstance(result, AllReduceResult):
        for dtype in dict.fromkeys(row.dtype for row in result.results):
            rows = [row for row in result.results if row.dtype == dtype]
            cells, shown = [_cells(row) for row in rows], [row.busbw_gb_per_s for row in rows]
            wrong = [bool(row.wrong) for row in rows]
            lines += [[], [Span(f" {dtype}", "accent")], *_table(_HEADS, cells, shown, wrong, width)]
        lines += [[], *_ranks(result, width)]
        if result.expected is not None:
            sources = [f"The {result.expected.busbw_gb_per_s:g} GB/s: {result.expected.source}."]
    else:
        steps = [_decode_cells(row) for row in result.results]
        paces = [row.tokens_per_s for row in result.results]
        what = f" model {result.model}, {result.dtype}, batch {result.batch}, context {result.context}"
        lines += [[], [Span(what, "accent")], *_table(_DECODE_HEADS, steps, paces, [False] * len(steps), width), []]
    style = {True: "ok", False: "critical", None: "bold"}[result.passed]
    lines += [[Span(" "), Span(text, style)] for text in wrap(clean(result.verdict), width - 1)]
    for note in [*sources, *result.notes]:
        lines += [[Span(f" {text}", "dim")] for text in wrap(clean(note), width - 1)]
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _title(result: ProbeResult) -> Line:
    if result.gpus:
        names = {board_name(gpu.name or "GPU") for gpu in result.gpus}
        boards = f"{result.ranks}×{names.pop()}" if len(names) == 1 else f"{result.ranks} different GPUs"
        where = f"{clean(boards)} (GPU {index_list([gpu.index for gpu in result.gpus])})"
        if isinstance(result, AllReduceResult) and result.fabric in FABRICS:
            where += f" {FABRICS[result.fabric]}"
    else:
        where = f"{result.ranks} ranks on the processor"
    version = f" {result.nccl_version}" if result.nccl_version else ""
    took = span_of_time(result.finished_at - result.started_at)
    line = [Span(f" probe {kind_of(result)}", "bold"), Span(f"   {clean(result.node)} · {where}")]
    if not result.comparable:
        line.append(Span("   CPU, not comparable", "warning"))
    p2p = ", P2P off" if isinstance(result, AllReduceResult) and result.p2p_disabled else ""
    return [
        *line,
        Span(f"   {result.backend}{version}{p2p}, torch {clean(result.torch_version or '?')}, {took}", "dim"),
    ]


def _table(
    heads: tuple[str, ...], cells: list[tuple[str, ...]], shown: list[float], wrong: list[bool], width: int
) -> list[Line]:
    """Columns to the right, and a bar for what is shown where there is room."""
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    top, *body = [
        [Span(f" {cell:>{wide}} ") for cell, wide in zip(row, widths, strict=True)] for row in (heads, *cells)
    ]
    room = min(width - line_cells(top) - 2, _MOST_PLOT)
    most = max(shown)
    lines: list[Line] = [[Span(span.text, "dim") for span in top]]
    for value, bad, spans in zip(shown, wrong, body, strict=True):
        if bad:
            spans[-1] = Span(spans[-1].text, "critical")
        plot = [Span(f" {bar(value / most, room)}", "bar")] if room >= _LEAST_PLOT and most else []
        lines.append([*spans, *plot])
    return lines


def _decode_cells(row: DecodeRow) -> tuple[str, ...]:
    return (
        str(row.tp),
        whole(row.steps),
        f"{row.tokens_per_s:,.4g}" if row.tokens_per_s < 1000 else whole(row.tokens_per_s),
        f"{row.ms_per_step_p50:,.3g}" if row.ms_per_step_p50 < 1000 else whole(row.ms_per_step_p50),
        f"{row.ms_per_step_p99:,.3g}" if row.ms_per_step_p99 is not None else DASH,
        f"{100 * row.allreduce_share:.0f} %",
        f"{100 * row.efficiency:.0f} %",
        _rate(row.memory_gb_per_s),
    )


def _cells(row: AllReduceRow) -> tuple[str, ...]:
    return (
        size_in_words(row.bytes),
        whole(row.iterations),
        _micros(row.latency_us_p50),
        _micros(row.latency_us_p99),
        _rate(row.algbw_gb_per_s),
        _rate(row.busbw_gb_per_s),
        str(row.wrong),
    )


def _micros(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.1f}" if value < 999.95 else whole(value)


def _rate(value: float) -> str:
    return f"{value:,.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def _ranks(result: AllReduceResult, width: int) -> list[Line]:
    """The ranks side by side: the slow one works longer, the others wait longer."""
    shown = result.rank_times[:_RANKS_SHOWN]
    if not shown:
        return []
    times = ", ".join(
        f"{f'GPU {one.gpu}' if one.gpu is not None else f'rank {one.rank}'} {_micros(one.work_us_p50)} + {_micros(one.call_us_p50)}"
        for one in shown
    )
    more = f" and {len(result.rank_times) - len(shown)} more" if len(result.rank_times) > len(shown) else ""
    words = f"ranks side by side, µs for the same work + in the call after it: {times}{more}"
    return [*([Span(f" {text}", "dim")] for text in wrap(words, width - 1)), []]


def to_csv(result: ProbeResult) -> str:
    """One line a row; what is not known is an empty cell."""
    columns = AllReduceRow.__struct_fields__ if isinstance(result, AllReduceResult) else DecodeRow.__struct_fields__
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "backend", "ranks", *columns])
    for row in result.results:
        writer.writerow([result.id, result.backend, result.ranks, *(getattr(row, name) for name in columns)])
    return text.getvalue()
