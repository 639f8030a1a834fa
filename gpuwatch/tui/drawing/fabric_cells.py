"""What stands under each GPU in the drawing of the fabric: its PCIe link and its NVLinks, now and at most."""

from collections.abc import Callable

from msgspec import Struct

from gpuwatch.render.facts import links_down, narrow_link
from gpuwatch.render.text import DASH, SIGNS, clean
from gpuwatch.render.units import gigabytes_per_s
from gpuwatch.tui.drawing.fabric_wiring import mark_of, ports_of
from gpuwatch_agent.model.absence import SENTENCES
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

_NOT_KNOWN = "It is not known of that moment."
# Below this a link counts as quiet: what is shown as 0.0 is dimmed.
_QUIET = 5e7


class Cell(Struct, frozen=True):
    """A few letters, what they mean, and what is said where the pointer rests."""

    text: str
    style: str = ""
    tip: str = ""
    brief: str = ""
    """The same where room is short."""


class Row(Struct, frozen=True):
    """One row of the table."""

    label: str
    cell: Callable[[Gpu], Cell]


def name_cell(gpu: Gpu, frame: Frame) -> Cell:
    mark = mark_of(gpu, frame)
    sign = f"{SIGNS[mark]} " if mark else ""
    name = f"GPU{gpu.index}"
    return Cell(f"{sign}{name}", mark or "title", clean(gpu.problem or ""), brief=f"{sign.strip()}{name}")


def pcie_rows(frame: Frame, *, roomy: bool) -> list[Row]:
    rows = [Row("PCIe", lambda gpu: _pcie_now(gpu, frame))]
    if roomy or any(_below_most(gpu) for gpu in frame.gpus):
        rows.append(Row("  at most", _pcie_most))
    if roomy:
        rows.append(Row("  GB/s out", lambda gpu: _one_way(gpu, "pcie", "tx")))
        rows.append(Row("  GB/s in", lambda gpu: _one_way(gpu, "pcie", "rx")))
    else:
        rows.append(Row("  GB/s", lambda gpu: _both(gpu, "pcie")))
    if any(gpu.pcie is not None and gpu.pcie.replays for gpu in frame.gpus):
        rows.append(Row("  replays", _replays))
    return rows


def nvlink_rows(frame: Frame, topology: Topology | None, *, roomy: bool) -> list[Row]:
    if not any(gpu.nvlink is not None and gpu.nvlink.total for gpu in frame.gpus):
        return []
    rows = [Row("NVLink", _links_up)]
    if roomy:
        rows.append(Row("  GB/s out", lambda gpu: _one_way(gpu, "nvlink", "tx")))
        rows.append(Row("  GB/s in", lambda gpu: _one_way(gpu, "nvlink", "rx")))
    else:
        rows.append(Row("  GB/s", lambda gpu: _both(gpu, "nvlink")))
    if roomy or any(_errors(gpu, topology) for gpu in frame.gpus):
        rows.append(Row("  errors", lambda gpu: _error_cell(gpu, frame, topology)))
    return rows


def _absent(gpu: Gpu, *paths: str) -> Cell:
    for path in paths:
        reason = gpu.absent.get(path)
        if reason is not None:
            return Cell(DASH, "dim", f"{SENTENCES[reason][:1].upper()}{SENTENCES[reason][1:]}.")
    return Cell(DASH, "dim", clean(gpu.problem) if gpu.problem else _NOT_KNOWN)


def _below_most(gpu: Gpu) -> bool:
    link = gpu.pcie
    return link is not None and (link.gen, link.width) != (link.gen_max or link.gen, link.width_max or link.width)


def _pcie_now(gpu: Gpu, frame: Frame) -> Cell:
    link = gpu.pcie
    if link is None or link.width is None:
        return _absent(gpu, "pcie.width", "pcie")
    words = _lanes(link.gen, link.width)
    odd = narrow_link(gpu, frame.gpus)
    if odd:
        return Cell(f"{SIGNS['warning']}{words}", "warning", "It has fewer lanes than like boards beside it.")
    slow = link.gen is not None and link.gen_max is not None and link.gen < link.gen_max
    tip = "An idle link lowers its generation by itself." if slow and not gpu.utilization_pct else ""
    return Cell(words, "" if gpu.state == "ok" else "dim", tip)


def _pcie_most(gpu: Gpu) -> Cell:
    link = gpu.pcie
    if link is None or link.width_max is None:
        return _absent(gpu, "pcie.width_max", "pcie")
    return Cell(_lanes(link.gen_max, link.width_max), "dim", "What board and slot can do together.")


def _lanes(generation: int | None, width: int) -> str:
    return f"×{width}" if generation is None else f"{generation}×{width}"


def _replays(gpu: Gpu) -> Cell:
    if gpu.pcie is None or gpu.pcie.replays is None:
        return _absent(gpu, "pcie.replays", "pcie")
    count = gpu.pcie.replays
    return Cell(f"{count:,}" if count else "0", "" if count else "dim", "Sent again since the driver was loaded.")


def _links_up(gpu: Gpu) -> Cell:
    link = gpu.nvlink
    if link is not None and link.total == 0:
        return Cell("none", "dim")
    if link is None or link.total is None or link.active is None or gpu.state == "lost":
        return _absent(gpu, "nvlink.active", "nvlink")
    words = f"{link.active}/{link.total}"
    if links_down(gpu):
        brief = f"{SIGNS['warning']}{link.active}"
        return Cell(f"{SIGNS['warning']}{words}", "warning", f"{links_down(gpu)} of its NVLinks are down.", brief=brief)
    return Cell(words, "nvlink" if link.active and gpu.state == "ok" else "dim")


def _one_way(gpu: Gpu, kind: str, way: str) -> Cell:
    link = gpu.pcie if kind == "pcie" else gpu.nvlink
    value = None if link is None else link.tx_bytes_per_s if way == "tx" else link.rx_bytes_per_s
    return _absent(gpu, f"{kind}.{way}_bytes_per_s", kind) if value is None else _rate(gpu, value)


def _rate(gpu: Gpu, value: float) -> Cell:
    return Cell(gigabytes_per_s(value), "" if gpu.state == "ok" and value >= _QUIET else "dim")


def _both(gpu: Gpu, kind: str) -> Cell:
    link = gpu.pcie if kind == "pcie" else gpu.nvlink
    if link is None or link.tx_bytes_per_s is None or link.rx_bytes_per_s is None:
        return _absent(gpu, f"{kind}.tx_bytes_per_s", f"{kind}.rx_bytes_per_s", kind)
    out, into = gigabytes_per_s(link.tx_bytes_per_s), gigabytes_per_s(link.rx_bytes_per_s)
    cell = _rate(gpu, link.tx_bytes_per_s + link.rx_bytes_per_s)
    return Cell(cell.text, cell.style, f"{out} GB/s out, {into} GB/s in.")


def _errors(gpu: Gpu, topology: Topology | None) -> int:
    return sum(sum((port.errors or {}).values()) for port in ports_of(gpu, topology))


def _error_cell(gpu: Gpu, frame: Frame, topology: Topology | None) -> Cell:
    ports = ports_of(gpu, topology)
    if not any(port.errors is not None for port in ports):
        return _absent(gpu, "nvlink.links", "nvlink")
    count = _errors(gpu, topology)
    found = any(finding.kind == "nvlink_errors" and gpu.index in finding.gpus for finding in frame.findings)
    if found:
        return Cell(f"{SIGNS['warning']}{_short(count)}", "warning", "They are growing: see the findings.")
    return Cell(_short(count), "" if count else "dim", "Since the driver was loaded; a few are normal.")


def _short(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k"
