"""The ranks of a group on the same scales, so that the late one stands out without reading."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.columns import ABSENT, Column, choose, draw_row, draw_title, text_column
from gpuwatch.render.job_cells import rank_word
from gpuwatch.render.text import SIGNS, bar, clean, wrap
from gpuwatch.render.units import gib, gigabytes_per_s, index_list, span_of_time, watts, whole
from gpuwatch.tui.drawing.gpu_rows import Standing
from gpuwatch.tui.drawing.sparkline import bucket_means, sparkline
from gpuwatch.tui.memberships import lost_of
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu

_HISTORY_S = 300
_MOST_CELLS = 30
_SPLITS = {
    "tensor": "tensor parallel",
    "layer": "layer split",
    "pipeline": "pipeline stages",
    "data": "data parallel",
    "unknown": "one job",
}


def group_head(group: Group, moment: Moment, width: int) -> Line:
    """The job's name, how it shares its GPUs and how that is known, and what it draws."""
    name = clean(group.id.rpartition("@")[0] or group.id)
    found = (moment.gpu(uuid) for uuid in group.uuids)
    members = [gpu for gpu in found if gpu is not None and gpu.state == "ok"]
    count = len(group.uuids) - len(lost_of(group, moment.frame.gpus))
    ranks = f"{count} of {group.size} ranks seen" if group.size and group.size > count else f"{count} ranks"
    left: Line = [Span("─ ", "rule"), Span(name, "title"), Span(f" · {_SPLITS[group.split]} · {ranks}", "dim")]
    power = sum(gpu.power_w for gpu in members if gpu.power_w is not None)
    sent = sum(gpu.nvlink.tx_bytes_per_s or 0.0 for gpu in members if gpu.nvlink is not None)
    right = " ".join(["", watts(power) if power else "", f"· {gigabytes_per_s(sent)} GB/s NVLink" if sent else "", "─"])
    room = max(width - len(right), 10)
    known_from = f" · known from {clean(group.source)}" if group.source else ""
    if known_from and line_cells(left) + line_cells([Span(known_from)]) + 4 <= room:
        left.append(Span(known_from, "dim"))
    left.append(Span(" "))
    left = fit_line(left, room)
    return [*left, Span("─" * max(room - line_cells(left), 0), "rule"), Span(right, "dim")]


def group_verdict(group: Group, moment: Moment, width: int, *, briefly: bool = False) -> list[Line]:
    """What was found about this group with cause, cost and what to do; else that its ranks keep step."""
    found = [finding for finding in moment.frame.findings if _is_about(finding, group)]
    lost = lost_of(group, moment.frame.gpus)
    if not found and not lost:
        return [_in_step(group)]
    lines: list[Line] = []
    if lost:
        told = f" It lost GPU {index_list(lost)}: the other ranks can't go on without, they hang or abort."
        lines.append(fit_line([Span(" "), Span(SIGNS["lost"], "lost"), Span(told, "lost text")], width))
    for finding in found[:2]:
        # Where room is short the sentence alone: the ranks below it are what one came for.
        lines += _told(finding, moment, width)[: 2 if briefly else None]
    return lines


def _is_about(finding: Finding, group: Group) -> bool:
    if finding.key == group.id:
        return True
    return finding.kind in {"slow_placement", "mixed_hardware"} and set(finding.gpus) == set(group.indices)


def _in_step(group: Group) -> Line:
    if group.split in {"tensor", "data"}:
        if group.size and group.size > len(group.uuids):
            told = f" {len(group.uuids)} of its {group.size} ranks are seen here; these keep step."
            return [Span(" "), Span(SIGNS["info"], "info"), Span(told, "dim")]
        return [Span(" "), Span(SIGNS["ok"], "ok"), Span(" Its ranks keep step.", "dim")]
    told = {
        "layer": " Layers take turns: each GPU idles while another works, and that is how it is meant.",
        "pipeline": " Stages take turns, so their load may differ.",
    }.get(group.split, " Nothing was found about it.")
    return [Span(" "), Span(SIGNS["info"], "info"), Span(told, "dim")]


def _told(finding: Finding, moment: Moment, width: int) -> list[Line]:
    room = max(width - 4, 20)
    age = span_of_time(moment.frame.taken_at - finding.since)
    lines: list[Line] = []
    for position, text in enumerate(wrap(clean(f"{finding.summary} For {age}."), room)):
        sign = SIGNS[finding.severity] if position == 0 else " "
        lines.append([Span(" "), Span(sign, finding.severity), Span(f" {text}", f"{finding.severity} text")])
    details = [
        ("why", finding.cause),
        ("estimated from", finding.evidence.get("estimated_from")),
        ("do", finding.action),
    ]
    for word, told in details:
        if told:
            for position, text in enumerate(wrap(clean(str(told)), max(room - 16, 16))):
                lines.append([Span(f"   {word if position == 0 else '':<15}", "dim"), Span(text)])
    return lines


def rank_table(
    group: Group, stands: Mapping[str, Standing], moment: Moment, usual: Mapping[str, float | None], width: int
) -> tuple[Line, list[Line]]:
    """Title and one row a rank."""
    gpus = [moment.gpu(uuid) for uuid in group.uuids]
    layout = choose(_columns(group, gpus, stands, moment, usual), width)
    return draw_title(layout), [draw_row(layout, position) for position in range(len(gpus))]


def _columns(
    group: Group,
    gpus: Sequence[Gpu | None],
    stands: Mapping[str, Standing],
    moment: Moment,
    usual: Mapping[str, float | None],
) -> list[Column]:
    lost = [gpu is not None and gpu.state == "lost" for gpu in gpus]
    late = [uuid in stands and stands[uuid].word == "late" for uuid in group.uuids]
    scale = max((gpu.power_limit_w or 0.0 for gpu in gpus if gpu is not None), default=0.0) or _highest(group, moment)
    clock_most = max((gpu.sm_clock_max_mhz or 0 for gpu in gpus if gpu is not None), default=0)

    def history(row: int, cells: int) -> Line:
        seconds_a_cell = -(-_HISTORY_S // max(cells, 1))
        values = moment.recent(group.uuids[row], "power_w", _HISTORY_S + seconds_a_cell)
        means = bucket_means(values, moment.frame.taken_at, seconds_a_cell, cells)
        return [Span(sparkline(means, 0.0, scale or 1.0), "chart warning" if late[row] else "chart")]

    def clock_bar(row: int, cells: int) -> Line:
        gpu = gpus[row]
        if gpu is None or gpu.sm_clock_mhz is None or not clock_most:
            return []
        drawn = bar(gpu.sm_clock_mhz / clock_most, cells)
        filled = drawn.rstrip("░")
        return [Span(filled, "chart warning" if late[row] else "bar"), Span(drawn[len(filled) :], "dim")]

    ranks = group.ranks
    return [
        text_column("", [_sign(*flags) for flags in zip(lost, late, strict=True)], priority=0, gap=1),
        text_column("rank", [_rank(group, row) for row in range(len(ranks))], priority=0, gap=1),
        text_column("GPU", [[Span(str(index), "bold")] for index in group.indices], priority=0, right=True),
        Column(title="power, 5 min", draw=history, priority=5, least=12, most=_MOST_CELLS),
        _figures("W", gpus, lambda gpu: None if gpu.power_w is None else whole(gpu.power_w), 1),
        text_column("usual W", [_usual(usual.get(uuid)) for uuid in group.uuids], priority=7, right=True),
        Column(title="SM clock", draw=clock_bar, priority=9, least=9, most=18),
        _figures("MHz", gpus, lambda gpu: None if gpu.sm_clock_mhz is None else whole(gpu.sm_clock_mhz), 2),
        _figures("util %", gpus, lambda gpu: None if gpu.utilization_pct is None else whole(gpu.utilization_pct), 8),
        *_where_known("SM %", gpus, lambda gpu: gpu.sm_activity_pct, 3),
        *_where_known("tensor %", gpus, lambda gpu: gpu.tensor_activity_pct, 11),
        *_where_known("DRAM %", gpus, lambda gpu: gpu.dram_activity_pct, 6),
        _figures("GiB", gpus, lambda gpu: None if gpu.memory_used_bytes is None else gib(gpu.memory_used_bytes), 6),
        *_where_known("°C", gpus, lambda gpu: gpu.temperature_c, 6),
        _figures("NVLink GB/s", gpus, _sent, 12),
        text_column("score", [_score(gpu) for gpu in gpus], priority=4, right=True),
        text_column(
            "",
            [
                [Span("lost", "lost")] if gone else _part(stands.get(uuid), group, moment)
                for uuid, gone in zip(group.uuids, lost, strict=True)
            ],
            priority=1,
            least=5,
        ),
    ]


def _sign(lost: bool, late: bool) -> Line:
    return [Span(SIGNS["lost"], "lost")] if lost else [Span(SIGNS["warning"], "late")] if late else []


def _highest(group: Group, moment: Moment) -> float:
    known = [value for uuid in group.uuids for value in moment.recent(uuid, "power_w", 300) if not isnan(value)]
    return max(known, default=0.0)


def _rank(group: Group, row: int) -> Line:
    word = rank_word(group.split, group.ranks[row])
    return [Span(word)] if word else [ABSENT]


def _figures(title: str, gpus: Sequence[Gpu | None], told: Callable[[Gpu], str | None], priority: int) -> Column:
    cells: list[Line] = []
    for gpu in gpus:
        text = told(gpu) if gpu is not None else None
        cells.append([ABSENT] if text is None else [Span(text, "" if gpu is not None and gpu.state == "ok" else "dim")])
    return text_column(title, cells, priority=priority, right=True)


def _where_known(
    title: str, gpus: Sequence[Gpu | None], value: Callable[[Gpu], float | None], priority: int
) -> list[Column]:
    """No column of dashes: what none of the boards tells is left out."""
    if all(gpu is None or value(gpu) is None for gpu in gpus):
        return []

    def told(gpu: Gpu) -> str | None:
        known = value(gpu)
        return None if known is None else whole(known)

    return [_figures(title, gpus, told, priority)]


def _sent(gpu: Gpu) -> str | None:
    rate = gpu.nvlink.tx_bytes_per_s if gpu.nvlink is not None else None
    return None if rate is None else gigabytes_per_s(rate)


def _usual(power_w: float | None) -> Line:
    return [ABSENT] if power_w is None else [Span(whole(power_w), "dim")]


def _score(gpu: Gpu | None) -> Line:
    score = gpu.imbalance_score if gpu is not None else None
    if score is None:
        return [ABSENT]
    return [Span(f"{score:.2f}", "late" if score >= 0.5 else "" if score >= 0.2 else "dim")]


def _part(standing: Standing | None, group: Group, moment: Moment) -> Line:
    """late, or for how much of the time the rank waits, where that was estimated."""
    if standing is None or not standing.word:
        return []
    if standing.word == "late":
        return [Span("late", "late")]
    finding = next((f for f in moment.frame.findings if f.key == group.id and f.kind == "tp_imbalance"), None)
    pace = finding.evidence.get("pace_estimated") if finding is not None else None
    share = f" ~{100 * (1 - pace):.0f} %" if isinstance(pace, int | float) else ""
    return [Span(f"waits{share}", "wait")]
