"""The lines around the GPUs: which node, what is wrong with it, and the host."""

import time
from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span, line_cells
from gpuwatch.render.text import SIGNS, bar, clean, wrap
from gpuwatch.render.units import board_name, gib, gib_total, gigabytes_per_s, index_list, span_of_time, watts
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.host import Host

_GAP = 2
_ORNAMENT = 6


def header_line(frame: Frame, marks: Sequence[str], width: int) -> Line:
    """Who speaks, about what, and how it is, in one line; what matters less is left out where room is short."""
    left: list[tuple[int, Line]] = [(0, [Span(" gpuwatch", "bold")])]
    if frame.simulated:
        left.append((1, [Span("  "), Span(" SIMULATED ", "badge")]))
    left.append((2, [Span("  "), Span(clean(frame.node) or "?", "bold")]))
    boards = boards_in_words([gpu.name for gpu in frame.gpus])
    power = sum(gpu.power_w for gpu in frame.gpus if gpu.power_w is not None and gpu.state == "ok")
    if boards:
        left.append((4, [Span(" · ", "dim"), Span(boards)]))
    if power and len(frame.gpus) > 1:
        left.append((8, [Span(" · ", "dim"), Span(watts(power))]))
    if frame.driver_version:
        left.append((6, [Span(f" · driver {clean(frame.driver_version)}", "dim")]))
    if frame.cuda_version:
        left.append((7, [Span(f" · CUDA {clean(frame.cuda_version)}", "dim")]))
    if frame.host is not None and frame.host.uptime_s is not None:
        left.append((9, [Span(f" · up {span_of_time(frame.host.uptime_s)}", "dim")]))
    clock = [Span(time.strftime("  %H:%M:%S ", time.localtime(frame.taken_at)), "dim")]
    tight = sum(line_cells(part) for _, part in left) > width * 0.7
    return _spread(left, [(3, _summary(marks, tight=tight)), (5, clock)], width)


def boards_in_words(names: Sequence[str | None]) -> str:
    """8×H100 80GB HBM3, or both kinds where boards are mixed."""
    counts: dict[str, int] = {}
    for name in names:
        shown = board_name(clean(name)) if name else "unknown"
        counts[shown] = counts.get(shown, 0) + 1
    return ", ".join(f"{count}×{name}" for name, count in counts.items())


def _summary(marks: Sequence[str], *, tight: bool) -> Line:
    """How many GPUs are well, and how many are not; signs alone where words have no room."""
    counts = {kind: marks.count(kind) for kind in ("ok", "stale", "warning", "critical", "lost")}
    counts["ok"] += marks.count("") + marks.count("info")
    present = {kind: count for kind, count in counts.items() if count}
    line: Line = []
    for kind, count in present.items():
        words = f" {count}" if tight and len(present) > 1 else f" {count} {kind}"
        line += [Span("  "), Span(SIGNS[kind], kind), Span(words, "dim" if kind == "ok" else kind)]
    return line


def _spread(left: list[tuple[int, Line]], right: list[tuple[int, Line]], width: int) -> Line:
    """Both sides in one line; the parts with the highest numbers go first when it gets tight."""
    parts = sorted([*left, *right], key=lambda part: part[0])
    room = width
    kept: set[int] = set()
    for priority, line in parts:
        needed = line_cells(line)
        if needed <= room or priority <= 2:  # who speaks is said in any case
            kept.add(priority)
            room -= needed
        elif priority >= _ORNAMENT:
            break
    before = [span for priority, line in left if priority in kept for span in line]
    after = [span for priority, line in right if priority in kept for span in line]
    return [*before, Span(" " * max(room, 0)), *after]


def finding_lines(frame: Frame, width: int) -> list[Line]:
    """What keeps gpuwatch from seeing, then the worst that was found, in words with what to do."""
    lines: list[Line] = []
    if frame.trouble is not None:
        lines += sentence_lines("critical", frame.trouble.message, frame.trouble.action, width)
    if frame.findings:
        lines += _worst_finding(frame, width)
    return lines


def _worst_finding(frame: Frame, width: int) -> list[Line]:
    """The worst in words with what to do, the others counted: the table below is what people came for."""
    worst, *others = frame.findings  # the engine puts the worst first
    where = f"GPU {index_list(worst.gpus)}: " if worst.gpus and "GPU" not in worst.summary else ""
    begun = time.strftime("%H:%M:%S", time.localtime(worst.since))
    since = f" Since {begun} ({span_of_time(frame.taken_at - worst.since)})."
    # What is only worth knowing asks for nothing to be done at once.
    action = worst.action if worst.severity != "info" else ""
    lines = sentence_lines(worst.severity, where + worst.summary + since, action, width)
    if others:
        counts = {kind: sum(other.severity == kind for other in others) for kind in ("critical", "warning", "info")}
        line: Line = [Span("   and", "dim")]
        for kind, count in counts.items():
            if count:
                line += [
                    Span(" "),
                    Span(SIGNS[kind], kind),
                    Span(f" {count} {kind}", kind if kind != "info" else "dim"),
                ]
        lines.append([*line, Span(": `gpuwatch check` tells them", "dim")])
    return lines


def sentence_lines(mark: str, message: str, action: str, width: int, indent: int = 1) -> list[Line]:
    """A signed sentence over as many lines as it needs, and below it, dimmed, what to do."""
    room = max(width - indent - 3, 10)
    lines: list[Line] = []
    for position, text in enumerate(wrap(clean(message), room)):
        sign = SIGNS[mark] if position == 0 else " "
        lines.append([Span(" " * indent), Span(sign, mark), Span(f" {text}", f"{mark} text")])
    for position, text in enumerate(wrap(clean(action), max(room - 2, 8))):
        lines.append([Span(" " * (indent + 2)), Span("→ " if position == 0 else "  ", "dim"), Span(text)])
    return lines


def host_line(frame: Frame, width: int, *, own_cost: bool = True) -> Line | None:
    """The machine around the GPUs, and what gpuwatch itself costs, where that is not told elsewhere."""
    host = frame.host
    parts = [] if host is None else _host_parts(host)
    cost = own_cost_in_words(frame) if own_cost else None
    if cost is not None:
        parts.append([Span(f"gpuwatch {cost}", "dim")])
    if not parts:
        return None
    line: Line = [Span(" host ", "dim")]
    for part in parts:
        if line_cells(line) + line_cells(part) + _GAP <= width:
            line += [Span(" " * _GAP), *part]
    return line


def _host_parts(host: Host) -> list[Line]:
    parts: list[Line] = []
    if host.cpu_pct is not None:
        drawn = bar(host.cpu_pct / 100, 8)
        filled = drawn.rstrip("░")
        parts.append(
            [
                Span("cpu ", "dim"),
                Span(filled, "bar"),
                Span(drawn[len(filled) :], "dim"),
                Span(f" {host.cpu_pct:.0f} %"),
            ]
        )
    if host.memory_used_bytes is not None and host.memory_total_bytes is not None:
        parts.append(_named("ram", f"{gib(host.memory_used_bytes)}/{gib_total(host.memory_total_bytes)} GiB"))
    if host.load_1m is not None:
        of = f" of {host.cpu_count}" if host.cpu_count else ""
        parts.append([*_named("load", f"{host.load_1m:.1f}"), Span(of, "dim")])
    if host.swap_used_bytes:
        parts.append(_named("swap", f"{gib(host.swap_used_bytes)} GiB"))
    parts += _rate_pair("disk", ("r", host.disk_read_bytes_per_s), ("w", host.disk_write_bytes_per_s))
    parts += _rate_pair("net", ("in", host.network_rx_bytes_per_s), ("out", host.network_tx_bytes_per_s))
    return parts


def _rate_pair(name: str, *rates: tuple[str, float | None]) -> list[Line]:
    known = [f"{direction} {gigabytes_per_s(rate)}" for direction, rate in rates if rate is not None]
    return [[*_named(name, " ".join(known)), Span(" GB/s", "dim")]] if known else []


def own_cost_in_words(frame: Frame) -> str | None:
    """What agent and sampler take together: share of one core, and memory."""
    cost = frame.agent
    if cost is None or cost.cpu_pct is None or cost.memory_bytes is None:
        return None
    cpu = cost.cpu_pct + (cost.sampler_cpu_pct or 0)
    memory = cost.memory_bytes + (cost.sampler_memory_bytes or 0)
    return f"{cpu:.1f} % {memory / 1024**2:.0f} MiB"


def _named(name: str, value: str) -> Line:
    return [Span(f"{name} ", "dim"), Span(value)]
