"""The columns of the GPU table, the important ones with low priority numbers."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.columns import ABSENT, Column, bar_column, parts_column, text_column
from gpuwatch.render.facts import RANK, Fact, is_hot, is_slowed, links_down, narrow_link
from gpuwatch.render.job_cells import rank_name
from gpuwatch.render.text import DASH, SIGNS, clean
from gpuwatch.render.units import board_name, gib, gib_total, gigabytes_per_s, whole
from gpuwatch_agent.model.gpu import Gpu, MigInstance

_BUSY_PCT = 1.0


class Row(Struct, kw_only=True):
    """One line of the table: a GPU, or a slice of one."""

    gpu: Gpu
    siblings: Sequence[Gpu]
    facts: Sequence[Fact] = ()
    mark: str = ""
    instance: MigInstance | None = None

    @property
    def answers(self) -> bool:
        return self.gpu.state == "ok"


Cell = Callable[[Row], Line]


def gpu_columns(rows: Sequence[Row], width: int) -> list[Column]:
    """All columns that have something to say about these GPUs, in the order of the screen."""
    mixed = len({row.gpu.name for row in rows if row.gpu.name}) > 1
    sliced = any(row.instance is not None for row in rows)
    alarmed = any(RANK[fact.severity] >= RANK["stale"] for row in rows for fact in row.facts)
    return [
        _text(rows, "", _mark, 0, gap=1),
        _text(rows, "GPU", _index, 0, right=True, gap=1),
        *_if_any(rows, "board", lambda row: _name(row, mixed), 6, least=8 if not sliced else 12),
        _text(rows, "util %", _utilization, 1, right=True),
        bar_column(_utilization_shares(rows), [_bar_style(row) for row in rows], priority=12, most=12),
        *_if_any(rows, "SM %", _instance_or("sm_activity_pct"), 9, right=True),
        *_if_any(rows, "tensor %", _number("tensor_activity_pct"), 15, right=True),
        *_if_any(rows, "DRAM %", _number("dram_activity_pct"), 13, right=True),
        _text(rows, "memory GiB", _memory, 1, right=True),
        bar_column(_memory_shares(rows), [_bar_style(row) for row in rows], priority=8, most=10 if width < 160 else 16),
        _text(rows, "power W", _power, 4, right=True),
        _text(rows, *_temperature_title(rows), 3, right=True),
        *_if_any(rows, "mem °C", _number("memory_temperature_c"), 18, right=True),
        *_if_any(rows, "fan %", _number("fan_pct"), 14, right=True),
        _text(rows, "SM MHz", _clock, 5, right=True),
        *_if_any(rows, "state", _pstate, 19, right=True),
        *_if_any(rows, "link", _link, 10),
        *_if_any(rows, "NVLink GB/s", _nvlink_rate, 16, right=True),
        *_if_any(rows, "PCIe GB/s", _pcie_rate, 17, right=True),
        *_if_any(rows, "ECC c/u", _ecc, 20, right=True),
        *_parts(rows, "note", _note, 2 if alarmed else 7, most_least=max(10, width // 4)),
        *_parts(rows, "used by", _used_by, 11),
    ]


def _parts(rows: Sequence[Row], title: str, cell: Cell, priority: int, *, most_least: int = 24) -> list[Column]:
    cells = [cell(row) for row in rows]
    return [parts_column(title, cells, priority=priority, most_least=most_least)] if any(cells) else []


def _text(
    rows: Sequence[Row],
    title: str,
    cell: Cell,
    priority: int,
    *,
    right: bool = False,
    least: int | None = None,
    gap: int = 2,
) -> Column:
    return text_column(title, [cell(row) for row in rows], priority=priority, right=right, least=least, gap=gap)


def _if_any(
    rows: Sequence[Row], title: str, cell: Cell, priority: int, *, right: bool = False, least: int | None = None
) -> list[Column]:
    """The column, unless no row has anything in it."""
    cells = [cell(row) for row in rows]
    if all(not line or line == [ABSENT] for line in cells):
        return []
    return [text_column(title, cells, priority=priority, right=right, least=least)]


def _value(row: Row, text: str | None, *, style: str = "") -> Line:
    """A number: dimmed where it is the last one known of a GPU that does not answer."""
    if text is None:
        return [] if row.instance is not None else [ABSENT]
    return [Span(text, style if row.answers else "dim")]


def _alarm(row: Row, text: str, *, raised: bool) -> Line:
    """A number that lights up, with its sign, when it is what is wrong."""
    if raised and row.answers:
        return [Span(f"{SIGNS['warning']}{text}", "warning")]
    return _value(row, text)


def _mark(row: Row) -> Line:
    if row.instance is not None or row.mark in {"", "info"}:
        return []
    return [Span(SIGNS[row.mark], row.mark)]


def _index(row: Row) -> Line:
    if row.instance is not None:
        return [Span(f"└{row.instance.index}", "dim")]
    return [Span(str(row.gpu.index), row.mark if row.mark not in {"", "info"} else "bold")]


def _name(row: Row, mixed: bool) -> Line:
    if row.instance is not None:
        name = row.instance.name
        # Drivers prefix the profile with the board: NVIDIA H100 80GB HBM3 MIG 3g.40gb.
        return [Span(clean(name).rpartition("MIG ")[2], "dim")] if name else []
    return [Span(board_name(clean(row.gpu.name)))] if mixed and row.gpu.name else []


def _number(field: str) -> Cell:
    def cell(row: Row) -> Line:
        if row.instance is not None:
            return []
        value: float | None = getattr(row.gpu, field)
        return _value(row, None if value is None else whole(value))

    return cell


def _instance_or(field: str) -> Cell:
    def cell(row: Row) -> Line:
        value: float | None = getattr(row.instance or row.gpu, field)
        return _value(row, None if value is None else whole(value))

    return cell


def _utilization(row: Row) -> Line:
    if row.instance is not None:
        return []
    value = row.gpu.utilization_pct
    idle = value is not None and value < _BUSY_PCT
    return _value(row, None if value is None else whole(value), style="dim" if idle else "")


def _utilization_shares(rows: Sequence[Row]) -> list[float | None]:
    return [
        None if row.instance is not None or row.gpu.utilization_pct is None else row.gpu.utilization_pct / 100
        for row in rows
    ]


def _memory_of(row: Row) -> tuple[int | None, int | None]:
    holder = row.instance or row.gpu
    return holder.memory_used_bytes, holder.memory_total_bytes


def _memory(row: Row) -> Line:
    used, total = _memory_of(row)
    if used is None and total is None:
        return _value(row, None)
    used_cell = [ABSENT] if used is None else _value(row, gib(used))
    return used_cell if total is None else [*used_cell, Span(f"/{gib_total(total)}", "dim")]


def _memory_shares(rows: Sequence[Row]) -> list[float | None]:
    shares: list[float | None] = []
    for row in rows:
        used, total = _memory_of(row)
        shares.append(used / total if used is not None and total else None)
    return shares


def _bar_style(row: Row) -> str:
    return "bar" if row.answers else "dim"


def _power(row: Row) -> Line:
    if row.instance is not None:
        return []
    draw, limit = row.gpu.power_w, row.gpu.power_limit_w
    if draw is None and limit is None:
        return _value(row, None)
    drawn = [ABSENT] if draw is None else _value(row, whole(draw))
    return drawn if limit is None else [*drawn, Span(f"/{limit:.0f}", "dim")]


def _speaks_of_margin(gpu: Gpu) -> bool:
    return gpu.temperature_slowdown_c is None and gpu.temperature_margin_c is not None


def _temperature_title(rows: Sequence[Row]) -> tuple[str, Cell]:
    """Newer boards tell how many degrees are left, older ones where they slow down."""
    kinds = {_speaks_of_margin(row.gpu) for row in rows if row.gpu.temperature_c is not None}
    return ("°C +left" if kinds == {True} else "°C/slow"), _temperature


def _temperature(row: Row) -> Line:
    if row.instance is not None:
        return []
    gpu = row.gpu
    if gpu.temperature_c is None:
        return _value(row, None)
    shown = _alarm(row, f"{gpu.temperature_c:.0f}", raised=is_hot(gpu))
    if gpu.temperature_slowdown_c is not None:
        return [*shown, Span(f"/{gpu.temperature_slowdown_c:.0f}", "dim")]
    if gpu.temperature_margin_c is not None:
        return [*shown, Span(f" {gpu.temperature_margin_c:+3.0f}", "dim")]
    return shown


def _clock(row: Row) -> Line:
    if row.instance is not None:
        return []
    clock = row.gpu.sm_clock_mhz
    return _value(row, None) if clock is None else _alarm(row, whole(clock), raised=is_slowed(row.gpu))


def _pstate(row: Row) -> Line:
    if row.instance is not None:
        return []
    return _value(row, None if row.gpu.pstate is None else f"P{row.gpu.pstate}", style="dim")


def _link(row: Row) -> Line:
    """NVLinks that are up, and the PCIe link as it is now: N18 P5×16."""
    if row.instance is not None:
        return []
    gpu, line = row.gpu, Line()
    if gpu.nvlink is not None and gpu.nvlink.active:
        line += _alarm(row, f"N{gpu.nvlink.active}", raised=links_down(gpu) > 0)
    if gpu.pcie is not None and gpu.pcie.width is not None:
        generation = "" if gpu.pcie.gen is None else str(gpu.pcie.gen)
        text = f"P{generation}×{gpu.pcie.width}"
        line += [Span(" " if line else ""), *_alarm(row, text, raised=narrow_link(gpu, row.siblings))]
    return line or [ABSENT]


def _rates(row: Row, sent: float | None, received: float | None) -> Line:
    if sent is None and received is None:
        return _value(row, None)
    both = [_rate(rate) for rate in (sent, received)]
    return _value(row, f"↑{both[0]} ↓{both[1]}")


def _rate(rate: float | None) -> str:
    return DASH if rate is None else gigabytes_per_s(rate)


def _nvlink_rate(row: Row) -> Line:
    link = None if row.instance is not None else row.gpu.nvlink
    return [] if link is None else _rates(row, link.tx_bytes_per_s, link.rx_bytes_per_s)


def _pcie_rate(row: Row) -> Line:
    link = None if row.instance is not None else row.gpu.pcie
    return [] if link is None else _rates(row, link.tx_bytes_per_s, link.rx_bytes_per_s)


def _ecc(row: Row) -> Line:
    ecc = row.gpu.ecc
    if row.instance is not None or ecc is None or (ecc.corrected is None and ecc.uncorrected is None):
        return []
    both = [DASH if count is None else f"{count:,}" for count in (ecc.corrected, ecc.uncorrected)]
    return _value(row, "/".join(both), style="" if ecc.uncorrected else "dim")


def _note(row: Row) -> Line:
    """Everything worth a word, the most serious first."""
    return [Span(fact.words, fact.severity if fact.severity not in {"", "info"} else "dim") for fact in row.facts]


def _used_by(row: Row) -> Line:
    """Who works here: the rank, the user, and the programs' names as far as there is room."""
    processes = row.gpu.processes
    if row.gpu.mig is not None and row.gpu.mig.enabled:
        wanted = row.instance.gpu_instance if row.instance is not None else None
        if wanted is None or processes is None:
            return []
        processes = [process for process in processes if process.gpu_instance == wanted]
    if processes is None:
        return _value(row, None)
    if not processes:
        if not row.answers:
            return []
        # A busy GPU without processes is not free: whoever works there is hidden from the driver's list.
        return [Span("free" if _is_unused(row.gpu) else "none listed", "dim")]
    ranks = {process.tp_rank: rank_name(process) for process in processes if process.tp_rank is not None}
    users = sorted({clean(process.user) for process in processes if process.user})
    names = list(dict.fromkeys(clean(process.name) for process in processes if process.name))
    who = " ".join([*(ranks[rank] for rank in sorted(ranks)[:2]), *users[:2]])
    style = "" if row.answers else "dim"
    return [Span(part, style) for part in (who, *names[:3]) if part] or [Span(f"{len(processes)} hidden", "dim")]


def _is_unused(gpu: Gpu) -> bool:
    used = gpu.memory_used_bytes or 0
    return not gpu.utilization_pct and used < 0.05 * (gpu.memory_total_bytes or used + 1)
