"""`gpuwatch topo`: the matrix, each GPU's place and links, and which of them is the odd one out."""

from collections import Counter
from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span, to_text
from gpuwatch.render.columns import ABSENT, Column, choose, draw_row, draw_title, text_column
from gpuwatch.render.header import boards_in_words
from gpuwatch.render.text import SIGNS, clean, wrap
from gpuwatch.render.units import board_name, index_list
from gpuwatch_agent.model.gpu import NvLinkPort
from gpuwatch_agent.model.topology import LEGEND, Topology, TopologyGpu

LEAST_WIDTH = 40

# Above this share of all pairs one kind of NVLink is the rule of the machine, and other pairs are exceptions.
_RULE_SHARE = 0.6


def render_topology(topology: Topology, *, width: int, colour: bool, unicode: bool) -> str:
    """The whole answer as text, no line wider than `width`."""
    width = max(width, LEAST_WIDTH)
    lines = [_header(topology)]
    if not topology.gpus:
        lines.append([Span(" There is no GPU on this node, so nothing is wired.")])
    else:
        facts = _fact_columns(topology.gpus)
        matrix = matrix_columns(topology)
        if _width_of([*matrix, *facts]) <= width:
            lines += _table([*matrix, *facts], len(topology.gpus), width)
        else:
            lines += _matrix_in_blocks(matrix, len(topology.gpus), width)
            lines.append([])
            lines += _table([matrix[0], *facts], len(topology.gpus), width)
        lines += _link_lines(topology.gpus, width)
        lines += _legend(topology)
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _header(topology: Topology) -> Line:
    line = [Span(" gpuwatch topo", "bold")]
    if topology.simulated:
        line += [Span("  "), Span(" SIMULATED ", "badge")]
    line += [Span("  "), Span(clean(topology.node) or "?", "bold")]
    boards = boards_in_words([gpu.name for gpu in topology.gpus])
    return [*line, Span(" · ", "dim"), Span(boards)] if boards else line


def matrix_columns(topology: Topology, *, prefix: str = "GPU") -> list[Column]:
    """A column of row names, then one column a GPU."""
    rule = _rule(topology)
    names: list[Line] = [[Span(f"{prefix}{gpu.index}", "bold")] for gpu in topology.gpus]
    columns = [text_column("", names, priority=0, gap=1)]
    for column, gpu in enumerate(topology.gpus):
        cells = [_cell(_at(topology, row, column), row == column, rule) for row in range(len(topology.gpus))]
        columns.append(text_column(f"{prefix}{gpu.index}", cells, priority=0, gap=1 if len(topology.gpus) > 8 else 2))
    return columns


def _at(topology: Topology, row: int, column: int) -> str | None:
    try:
        return topology.matrix[row][column]
    except IndexError:
        return None


def _rule(topology: Topology) -> str | None:
    """The kind of NVLink that joins nearly every pair, where there is such a rule."""
    count = len(topology.gpus)
    cells = (_at(topology, row, column) for row in range(count) for column in range(count) if row != column)
    pairs = [word for word in cells if word is not None]  # a lost GPU's are not known
    if count < 3 or not pairs:
        return None
    word, times = Counter(pairs).most_common(1)[0]
    return word if word.startswith("NV") and times >= _RULE_SHARE * len(pairs) else None


def _cell(word: str | None, diagonal: bool, rule: str | None) -> Line:
    if diagonal:
        return [Span("X", "dim")]
    if word is None:
        return [ABSENT]
    if rule is not None and word != rule:
        return [Span(f"{clean(word)}{SIGNS['warning']}", "warning")]
    return [Span(clean(word), "ok" if word.startswith("NV") else "")]


def _fact_columns(gpus: Sequence[TopologyGpu]) -> list[Column]:
    mixed = len({gpu.name for gpu in gpus}) > 1
    columns: list[Column] = []
    if mixed:
        columns.append(
            text_column("board", [[Span(board_name(clean(gpu.name or "?")))] for gpu in gpus], priority=5, least=8)
        )
    columns += [
        text_column("CPUs", [_words(gpu.cpu_affinity) for gpu in gpus], priority=4, least=8),
        text_column(
            "NUMA", [_words(None if gpu.numa_node is None else str(gpu.numa_node)) for gpu in gpus], priority=3
        ),
        text_column("PCIe now / most", [_pcie(gpu, gpus) for gpu in gpus], priority=2),
    ]
    if any(gpu.nvlink is not None and gpu.nvlink.total for gpu in gpus):
        columns.append(text_column("NVLink", [_nvlink(gpu) for gpu in gpus], priority=1))
    return columns


def _words(text: str | None) -> Line:
    return [Span(clean(text))] if text else [ABSENT]


def _pcie(gpu: TopologyGpu, gpus: Sequence[TopologyGpu]) -> Line:
    link = gpu.pcie
    if link is None or link.width is None:
        return [ABSENT]
    like = [other.pcie.width or 0 for other in gpus if other.pcie is not None and other.name == gpu.name]
    odd = link.width < max(like)
    now = _lanes(link.gen, link.width)
    most = "" if link.width_max is None else f" / {_lanes(link.gen_max, link.width_max)}"
    return [Span(f"{SIGNS['warning']}{now}" if odd else now, "warning" if odd else ""), Span(most, "dim")]


def _lanes(generation: int | None, width: int) -> str:
    return f"×{width}" if generation is None else f"gen{generation} ×{width}"


def _nvlink(gpu: TopologyGpu) -> Line:
    link = gpu.nvlink
    if link is None or not link.total:
        return [Span("none", "dim")]
    if link.active is None:
        return [ABSENT]
    if link.active == 0:
        return [Span(f"0/{link.total} up", "dim")]
    down = link.active < link.total
    return [Span(f"{SIGNS['warning'] if down else ''}{link.active}/{link.total} up", "warning" if down else "ok")]


def _width_of(columns: Sequence[Column]) -> int:
    return sum(column.most + column.gap for column in columns)


def _table(columns: Sequence[Column], rows: int, width: int) -> list[Line]:
    layout = choose(columns, width)
    return [draw_title(layout), *(draw_row(layout, row) for row in range(rows))]


def _matrix_in_blocks(matrix: Sequence[Column], rows: int, width: int) -> list[Line]:
    """Blocks of columns, alike in size and below each other, so that no cell is cut."""
    names, columns = matrix[0], matrix[1:]
    room = width - names.most - names.gap
    most = max(room // max(column.most + column.gap for column in columns), 1)
    blocks = -(-len(columns) // most)
    size = -(-len(columns) // blocks)
    lines: list[Line] = []
    for start in range(0, len(columns), size):
        lines += [*([[]] if lines else []), *_table([names, *columns[start : start + size]], rows, width)]
    return lines


def _link_lines(gpus: Sequence[TopologyGpu], width: int) -> list[Line]:
    """Each link that is down while others of its GPU are up, then those that have counted errors, by number."""
    lines: list[Line] = []
    for gpu in gpus:
        if gpu.nvlink is not None and gpu.nvlink.active:
            down = [_port_name(port) for port in gpu.nvlink.links or () if port.state == "down"]
            if down:
                lines += _signed("warning", f"GPU{gpu.index}: NVLink {', '.join(down)} down", width)
    counted = [(gpu.index, words) for gpu in gpus if (words := _errors_in_words(gpu))]
    if counted:
        remark = (
            "Errors that NVLinks have counted since the driver was loaded (a few are normal, more and more are not):"
        )
        lines += _signed("info", remark, width)
        for index, words in counted:
            lines += [[Span(f"   {text}", "dim")] for text in wrap(f"GPU{index}: {words}", width - 3)]
    return [[], *lines] if lines else []


def _errors_in_words(gpu: TopologyGpu) -> str:
    """As in: replay 4 on link 7,9 and 1 on link 10-12."""
    if gpu.nvlink is None:
        return ""
    links: dict[str, dict[int, list[int]]] = {}
    for port in gpu.nvlink.links or ():
        for name, count in (port.errors or {}).items():
            if count:
                links.setdefault(clean(name).replace("_", " "), {}).setdefault(count, []).append(port.index)
    return "; ".join(
        f"{name} {' and '.join(f'{count:,} on link {index_list(links[name][count])}' for count in sorted(links[name], reverse=True))}"
        for name in sorted(links)
    )


def _port_name(port: NvLinkPort) -> str:
    return f"{port.index} (to {clean(port.peer)})" if port.peer else str(port.index)


def _signed(kind: str, text: str, width: int) -> list[Line]:
    style = kind if kind == "warning" else ""
    return [
        [Span(f" {SIGNS[kind]} " if position == 0 else "   ", kind), Span(line, style)]
        for position, line in enumerate(wrap(text, width - 3))
    ]


def _legend(topology: Topology) -> list[Line]:
    """The words that occur, and no others."""
    present = {word for row in topology.matrix for word in row if word}
    used = {"NV#" if word.startswith("NV") else word for word in present}
    lines: list[Line] = [[]]
    for word, meaning in LEGEND.items():
        if word in used and word != "X":
            lines.append([Span(f" {word:<5}", "dim"), Span(meaning, "dim")])
    rule = _rule(topology)
    if rule is not None and any(word != rule for word in present if word != "X"):
        lines.append(
            [Span(f" {SIGNS['warning']}    ", "warning"), Span(f"differs from the others, which are {rule}", "dim")]
        )
    return lines if len(lines) > 1 else []
