"""The machine as it is wired: NUMA nodes above, a column a GPU with its PCIe and NVLinks, switches or peers below."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from gpuwatch.render.ansi import Line, Span, line_cells
from gpuwatch.render.facts import links_down
from gpuwatch.render.text import cells_of, clean, cut
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.drawing.fabric_cells import Cell, Row, name_cell, nvlink_rows, pcie_rows
from gpuwatch.tui.drawing.fabric_wiring import Wiring
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

_LEAST_CELL, _MOST_CELL = 6, 12
_LABEL, _NARROW_LABEL = 11, 8


def draw_map(
    frame: Frame, topology: Topology | None, wiring: Wiring, width: int, *, chosen: str | None, roomy: bool
) -> Drawing:
    """All GPUs side by side, or in several rows where they are too many for the width."""
    lines: list[Line] = []
    hits: list[Hit] = []
    label = _LABEL if width >= 70 else _NARROW_LABEL
    per_row = max(1, (width - label - 1) // _LEAST_CELL)
    gpus = sorted(frame.gpus, key=lambda gpu: (wiring.numa.get(gpu.index, -1), gpu.index))
    rows = -(-len(gpus) // per_row) if gpus else 0
    size = -(-len(gpus) // rows) if rows else 1
    table = [*pcie_rows(frame, roomy=roomy), *nvlink_rows(frame, topology, roomy=roomy)]
    for first in range(0, len(gpus), size):
        block = _Block(gpus[first : first + size], wiring, label, width)
        lines.append(block.roof())
        for row in (Row("", lambda gpu: name_cell(gpu, frame)), *table):
            hits += block.hits(len(lines), row)
            lines.append(block.line(row, chosen))
        lines += block.floor(roomy=roomy)
    return Drawing(lines=lines, hits=hits)


class _Block:
    """GPUs side by side: where each column lies."""

    def __init__(self, gpus: Sequence[Gpu], wiring: Wiring, label: int, width: int) -> None:
        self.gpus = gpus
        self._wiring = wiring
        self._label = label
        self._domains = [
            (node, list(members)) for node, members in groupby(gpus, key=lambda gpu: wiring.numa.get(gpu.index))
        ]
        gaps = len(self._domains) - 1
        room = width - label - 1
        self.cell = max(_LEAST_CELL - 1, min(_MOST_CELL, (room - gaps) // len(gpus)))
        self._gap = min(5, max(0, (room - self.cell * len(gpus)) // gaps)) if gaps else 0
        self.starts: list[int] = []
        at = label
        for _, members in self._domains:
            for _ in members:
                self.starts.append(at)
                at += self.cell
            at += self._gap
        self.end = at - self._gap

    def roof(self) -> Line:
        """The NUMA nodes over their GPUs; between them the way over the sockets."""
        line: Line = [Span(" " * (self._label + 1))]
        for position, (node, members) in enumerate(self._domains):
            if position:
                line.append(Span(" SYS "[: self._gap] if self._gap >= 5 else " " * self._gap, "dim"))
            inner = len(members) * self.cell - 3
            cpus = self._wiring.cpus.get(node) if node is not None else None
            name = "NUMA ?" if node is None else f"NUMA {node}"
            words = (
                f" {name} " if cpus is None or len(name) + len(cpus) + 10 > inner else f" {name} · CPUs {clean(cpus)} "
            )
            words = cut(words, max(inner, 0))
            left = max(inner - len(words), 0) // 2
            line += [Span("┌" + "─" * left, "rule"), Span(words), Span("─" * (inner - left - len(words)) + "┐", "rule")]
            line.append(Span(" "))
        return line

    def line(self, row: Row, chosen: str | None) -> Line:
        """One row of the table, numbers right-aligned under their GPU."""
        line: Line = [Span(""), Span(f" {self._labelled(row.label):<{self._label - 1}}", "dim")]
        at = self._label
        for gpu, start in zip(self.gpus, self.starts, strict=True):
            cell = row.cell(gpu)
            text = cell.text if cells_of(cell.text) < self.cell else cut(cell.brief or cell.text, self.cell - 1)
            cursor = "+cursor" if gpu.uuid == chosen else ""
            line += [Span(" " * (start - at))] if start > at else []
            line.append(Span(" " * (self.cell - line_cells([Span(text)])), cursor))
            line.append(Span(text, f"{cell.style}{cursor}"))
            at = start + self.cell
        return line

    def _labelled(self, words: str) -> str:
        return cut(words if self._label == _LABEL else words.strip(), self._label - 1)

    def hits(self, y: int, row: Row) -> list[Hit]:
        return [
            Hit(y, start + 1, self.cell - 1, f"choose({gpu.uuid!r})", row.cell(gpu).tip)
            for gpu, start in zip(self.gpus, self.starts, strict=True)
        ]

    def floor(self, *, roomy: bool) -> list[Line]:
        """What the NVLinks lead to."""
        if self._wiring.switched:
            return [self._switches()]
        if not self._wiring.bridged:
            return []
        most = max(len(self._wiring.peers.get(gpu.index, ())) for gpu in self.gpus)
        if most > 1 and not roomy:
            return []  # the matrix below says as much
        return [
            self.line(Row("  to GPU" if place == 0 else "", partial(self._peer, place)), None) for place in range(most)
        ]

    def _peer(self, place: int, gpu: Gpu) -> Cell:
        peers = sorted(self._wiring.peers.get(gpu.index, Counter()).items())
        if place >= len(peers):
            return Cell("")
        other, links = peers[place]
        return Cell(f"{other} ×{links}", "nvlink", f"{links} NVLinks lead to GPU {other}.")

    def _switches(self) -> Line:
        count = len(self._wiring.switches)
        words = f" {count} switch{'es' if count > 1 else ''}"
        cells = [Span("═", "nvlink")] * (self.end - self._label - 1)
        for gpu, start in zip(self.gpus, self.starts, strict=True):
            joined = gpu.nvlink is not None and gpu.nvlink.active and gpu.state == "ok"
            place = start - self._label + self.cell - 3
            if joined and 0 <= place < len(cells):
                cells[place] = Span("╩", "nvlink" if not links_down(gpu) else "warning")
        words = words if len(words) <= self._label else f" sw×{count}"
        return [Span(f"{words:<{self._label}}", "dim"), Span(" "), *_runs(cells)]


def _runs(cells: Sequence[Span]) -> Line:
    """Neighbours of one style as one span."""
    return [
        Span("".join(span.text for span in run), style) for style, run in groupby(cells, key=lambda span: span.style)
    ]
