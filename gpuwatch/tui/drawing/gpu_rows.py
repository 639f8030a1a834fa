"""GPUs as rows of one table: the columns of `status`, the last minute, and who waits for whom."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.columns import Column, text_column
from gpuwatch.render.facts import RANK, with_state
from gpuwatch.render.gpu_columns import Row, gpu_columns
from gpuwatch.render.job_cells import rank_word
from gpuwatch.render.text import DASH, SIGNS
from gpuwatch.render.units import gib, watts
from gpuwatch.tui.drawing.marks import marked
from gpuwatch.tui.drawing.sparkline import bucket_means, sparkline
from gpuwatch.tui.memberships import lost_of
from gpuwatch.tui.moment import Moment
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.model.gpu import Gpu

_HISTORY_S = 60
_HISTORY_CELLS = _HISTORY_S // 4


class Standing(Struct, frozen=True):
    """A GPU's part in its group: "late", "waits", or "" where all keep step."""

    group: str
    rank: str
    """As TP3, by how the job shares its GPUs; empty where it has no rank."""
    word: str


def standings(groups: Sequence[Group], moment: Moment) -> dict[str, Standing]:
    """By UUID, for GPUs of groups that work in step."""
    late: dict[str, set[int]] = {}
    for finding in moment.frame.findings:
        if finding.kind == "tp_imbalance" and finding.severity != "info" and finding.key is not None:
            late.setdefault(finding.key, set()).update(finding.gpus)
    found: dict[str, Standing] = {}
    for group in groups:
        culprits = late.get(group.id, set())
        for uuid, index, rank in zip(group.uuids, group.indices, group.ranks, strict=True):
            word = "" if not culprits else "late" if index in culprits else "waits"
            found[uuid] = Standing(group.id, rank_word(group.split, rank), word)
    return found


def rows_of(moment: Moment) -> list[Row]:
    """Every GPU with what is worth saying of it; a finding about it counts as much as a reading."""
    gpus = moment.frame.gpus
    rows: list[Row] = []
    for gpu, facts, mark in marked(moment.frame):
        rows.append(Row(gpu=gpu, siblings=gpus, facts=with_state(gpu, facts), mark=mark))
        if gpu.mig is not None and gpu.mig.enabled:
            rows += [Row(gpu=gpu, siblings=gpus, instance=instance) for instance in gpu.mig.instances]
    return rows


def overview_columns(rows: Sequence[Row], moment: Moment, stands: Mapping[str, Standing], width: int) -> list[Column]:
    """The columns of `status`, with the last minute of power and the rank's part put in where the eye looks for them."""
    columns = gpu_columns(rows, width)
    history = Column(
        title="1 min",
        draw=lambda row, cells: _history(rows[row], moment, cells),
        priority=6,
        least=8,
        most=_HISTORY_CELLS,
    )
    place = next((i + 1 for i, column in enumerate(columns) if column.title == "power W"), len(columns))
    columns.insert(place, history)
    if any(standing.word for standing in stands.values()):
        columns.append(text_column("rank", [_rank(row, stands) for row in rows], priority=3))
    return columns


def _history(row: Row, moment: Moment, cells: int) -> Line:
    """The power of the last minute against the limit; where no power is told, the utilisation."""
    gpu = row.gpu
    if row.instance is not None:
        return []
    limit = gpu.power_limit_w or gpu.power_limit_default_w
    metric, high = ("power_w", limit) if limit else ("utilization_pct", 100.0)
    seconds_a_cell = -(-_HISTORY_S // max(cells, 1))
    values = moment.recent(gpu.uuid, metric, _HISTORY_S + seconds_a_cell)
    means = bucket_means(values, moment.frame.taken_at, seconds_a_cell, cells)
    style = (
        "chart"
        if row.answers and RANK[row.mark] < RANK["warning"]
        else "dim"
        if not row.answers
        else f"chart {_tone(row)}"
    )
    return [Span(sparkline(means, 0.0, high), style)]


def _tone(row: Row) -> str:
    return "critical" if RANK[row.mark] >= RANK["critical"] else "warning"


def _rank(row: Row, stands: Mapping[str, Standing]) -> Line:
    standing = stands.get(row.gpu.uuid)
    if standing is None or row.instance is not None:
        return []
    name = f"{standing.rank} " if standing.rank else ""
    return [Span(name, "dim"), Span(standing.word, "late" if standing.word == "late" else "wait")]


def dense_cells(rows: Sequence[Row], width: int, height: int) -> list[Line]:
    """The essentials of each GPU, as many beside each other as there is room for; fewer of them before a GPU is left out."""
    for values in (4, 2, 1, 0):
        lines = _side_by_side([_dense(row, values) for row in rows if row.instance is None], width)
        if len(lines) <= height:
            break
    return lines[:height]


def _side_by_side(cells: Sequence[Line], width: int) -> list[Line]:
    """In columns, each as wide as the widest of all."""
    widest = max((line_cells(cell) for cell in cells), default=1) + 2
    across = max(1, width // widest)
    down = -(-len(cells) // across)
    lines: list[Line] = []
    for y in range(down):
        line: Line = []
        for cell in cells[y::down][:across]:
            line += [*cell, Span(" " * (widest - line_cells(cell)))]
        lines.append(fit_line(line, width))
    return lines


def _dense(row: Row, values: int) -> Line:
    """Mark and index, then the first so many of load, memory, power and temperature."""
    gpu = row.gpu
    alarmed = row.mark not in {"", "info"}
    sign = Span(SIGNS[row.mark] if alarmed else " ", row.mark if alarmed else "")
    if gpu.state == "lost":
        return [sign, Span(f"{gpu.index:>2} ", row.mark), Span("lost", "lost text")]
    style = "" if row.answers else "dim"

    def number(value: float | None, unit: str, cells: int) -> Span:
        text = DASH if value is None else f"{value:.0f}{unit}"
        return Span(f" {text:>{cells}}", style if value is not None else "dim")

    hot = gpu.temperature_c is not None and gpu.temperature_slowdown_c is not None
    heat = "warning" if hot and (gpu.temperature_c or 0) >= (gpu.temperature_slowdown_c or 0) else style
    temperature = number(gpu.temperature_c, "°", 4)._replace(style=heat if row.answers else "dim")
    memory = Span(f" {DASH if gpu.memory_used_bytes is None else gib(gpu.memory_used_bytes):>5}G", style)
    index = Span(f"{gpu.index:>2}", row.mark if alarmed else "bold")
    told = [number(gpu.utilization_pct, "%", 4), memory, number(gpu.power_w, "W", 5), temperature]
    return [sign, index, *told[:values]]


def group_title(group: Group, gpus: Sequence[Gpu], stands: Mapping[str, Standing], width: int) -> Line:
    """A rule with the job's name, how it was recognised, and what it draws."""
    kind = {"tensor": "tensor-parallel", "layer": "layer split", "pipeline": "pipeline", "data": "data-parallel"}
    name = group.id.rpartition("@")[0] or group.id
    lost = len(lost_of(group, gpus))
    left_over = len(group.uuids) - lost
    ranks = f"{left_over} of {group.size} ranks" if group.size and group.size != left_over else f"{left_over} ranks"
    late = sum(1 for uuid in group.uuids if uuid in stands and stands[uuid].word == "late")
    held = f" ▲ {late} late, {left_over - late} wait" if late else ""
    # The row of one that is lost or silent holds its last reading, which is no longer true.
    power = sum(gpu.power_w or 0.0 for gpu in gpus if gpu.uuid in group.uuids and gpu.state == "ok")
    right = f" {watts(power)} ─" if power else "─"
    left: Line = [
        Span("─ ", "rule"),
        Span(kind.get(group.split, "one job"), "dim"),
        Span(f" {name}", "title"),
    ]
    if lost:
        left.append(Span(f" {SIGNS['lost']} {lost} lost", "lost"))
    if held:
        left.append(Span(held, "warning"))
    left.append(Span(f" ({ranks})", "dim"))
    left.append(Span(" "))
    room = width - len(right)
    left = fit_line(left, room)
    return [*left, Span("─" * max(room - line_cells(left), 0), "rule"), Span(right, "dim" if power else "rule")]


def grouped(rows: Sequence[Row], moment: Moment) -> tuple[list[Group], list[Row]]:
    """Groups of more than one GPU in the order of their first GPU, and the rows in that order, the ungrouped last."""
    groups = moment.groups()
    order: dict[str, int] = {}
    for group in groups:
        for uuid in group.uuids:
            order.setdefault(uuid, len(order))
    ordered = sorted(rows, key=lambda row: (order.get(row.gpu.uuid, len(order)), row.gpu.index))
    return groups, ordered
