"""A result of `probe allreduce`: a table whose last column is the plot of bus bandwidth over size, and the verdict."""

import csv
import io

from gpuwatch.render.ansi import Line, Span, line_cells, to_text
from gpuwatch.render.text import DASH, bar, clean, wrap
from gpuwatch.render.units import board_name, index_list, span_of_time, whole
from gpuwatch_agent.probes.expectations import FABRICS
from gpuwatch_agent.probes.plan import size_in_words
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow

_HEADS = ("size", "calls", "p50 µs", "p99 µs", "algbw GB/s", "busbw GB/s", "wrong")
_LEAST_PLOT, _MOST_PLOT = 10, 50
_RANKS_SHOWN = 16


def render_allreduce(result: AllReduceResult, *, width: int, colour: bool, unicode: bool) -> str:
    """Everything of one run, no line wider than `width`."""
    width = max(width, 40)
    lines: list[Line] = [_title(result)]
    for dtype in dict.fromkeys(row.dtype for row in result.results):
        lines += [[], *_table([row for row in result.results if row.dtype == dtype], dtype, width)]
    lines += [[], *_ranks(result, width)]
    style = {True: "ok", False: "critical", None: "bold"}[result.passed]
    lines += [[Span(" "), Span(text, style)] for text in wrap(clean(result.verdict), width - 1)]
    source = [f"The {result.expected.busbw_gb_per_s:g} GB/s: {result.expected.source}."] if result.expected else []
    for note in [*source, *result.notes]:
        lines += [[Span(f" {text}", "dim")] for text in wrap(clean(note), width - 1)]
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _title(result: AllReduceResult) -> Line:
    if result.gpus:
        names = {board_name(gpu.name or "GPU") for gpu in result.gpus}
        boards = f"{result.ranks}×{names.pop()}" if len(names) == 1 else f"{result.ranks} different GPUs"
        where = f"{clean(boards)} (GPU {index_list([gpu.index for gpu in result.gpus])})"
        where += f" {FABRICS[result.fabric]}" if result.fabric in FABRICS else ""
    else:
        where = f"{result.ranks} ranks on the processor"
    version = f" {result.nccl_version}" if result.nccl_version else ""
    took = span_of_time(result.finished_at - result.started_at)
    line = [Span(" probe allreduce", "bold"), Span(f"   {clean(result.node)} · {where}")]
    if not result.comparable:
        line.append(Span("   CPU, not comparable", "warning"))
    p2p = ", P2P off" if result.p2p_disabled else ""
    return [
        *line,
        Span(f"   {result.backend}{version}{p2p}, torch {clean(result.torch_version or '?')}, {took}", "dim"),
    ]


def _table(rows: list[AllReduceRow], dtype: str, width: int) -> list[Line]:
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(_HEADS))]
    heads, *body = [[Span(f" {cell:>{wide}} ") for cell, wide in zip(row, widths, strict=True)] for row in cells]
    room = min(width - line_cells(heads) - 2, _MOST_PLOT)
    most = max(row.busbw_gb_per_s for row in rows)
    lines: list[Line] = [[Span(f" {dtype}", "accent")], [Span(span.text, "dim") for span in heads]]
    for row, spans in zip(rows, body, strict=True):
        if row.wrong:
            spans[-1] = Span(spans[-1].text, "critical")
        plot = [Span(f" {bar(row.busbw_gb_per_s / most, room)}", "bar")] if room >= _LEAST_PLOT and most else []
        lines.append([*spans, *plot])
    return lines


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


def to_csv(result: AllReduceResult) -> str:
    """One line a size; what is not known is an empty cell."""
    columns = AllReduceRow.__struct_fields__
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "backend", "ranks", *columns])
    for row in result.results:
        values = [getattr(row, name) for name in columns]
        writer.writerow([result.id, result.backend, result.ranks, *values])
    return text.getvalue()
