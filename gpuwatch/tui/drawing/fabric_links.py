"""One GPU's NVLinks, one by one: state, version, where each leads, and the errors it has counted."""

from collections.abc import Sequence

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import DASH, SIGNS, clean
from gpuwatch.tui.drawing.fabric_wiring import address, ports_of
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, NvLinkPort
from gpuwatch_agent.model.topology import Topology

LEAST_WIDTH = 26


def links_height(gpu: Gpu, topology: Topology | None, width: int) -> int:
    """How many lines they want at that width, with their title."""
    ports = ports_of(gpu, topology)
    return 1 + -(-len(ports) // _columns(_entries(gpu, ports, []), width, len(ports))) if ports else 2


def draw_links(gpu: Gpu, frame: Frame, topology: Topology | None, width: int, height: int) -> list[Line]:
    """In columns, downwards; as many as there is room for, those that are not well before the others."""
    ports = ports_of(gpu, topology)
    versions = {port.version for port in ports if port.version}
    title: Line = [Span(" "), Span(f"NVLinks of GPU{gpu.index}", "bold")]
    if len(versions) == 1:
        title.append(Span(f" · version {clean(min(versions))}", "dim"))
    if not ports:
        words = "This board has none." if gpu.nvlink is not None and gpu.nvlink.total == 0 else "Not known one by one."
        return [fit_line(title, width), [Span(f"   {words}", "dim")]][:height]
    entries = _entries(gpu, ports, frame.gpus, with_version=len(versions) > 1)
    room = max(height - 1, 1)
    columns = _columns(entries, width, room)
    if len(entries) > columns * room:
        hidden = len(entries) - columns * room + 1
        entries = sorted(entries, key=lambda entry: entry[1].style != "warning")[: columns * room - 1]
        entries.append([Span("   "), Span(f"… and {hidden} more", "dim")])
    rows = -(-len(entries) // columns)
    lines = [fit_line(title, width)]
    cell = max(line_cells(entry) for entry in entries) + 2
    for row in range(rows):
        line: Line = []
        for entry in entries[row::rows]:
            line += [Span(" " * (-line_cells(line) % cell))] if line else []
            line += entry
        lines.append(fit_line(line, width))
    return lines[:height]


def _columns(entries: Sequence[Line], width: int, rows: int) -> int:
    widest = max((line_cells(entry) for entry in entries), default=1) + 2
    most = max(1, (width + 2) // widest)
    return max(1, min(most, -(-len(entries) // max(rows, 1))))


def _entries(gpu: Gpu, ports: Sequence[NvLinkPort], gpus: Sequence[Gpu], *, with_version: bool = False) -> list[Line]:
    names = {address(other.pci_bus_id): f"GPU{other.index}" for other in gpus if other.pci_bus_id}
    # Boards without a bridge have all links down: that is how they are, not how they broke.
    some_up = any(port.state == "up" for port in ports)
    return [_entry(port, names, some_up=some_up, stale=gpu.state != "ok", with_version=with_version) for port in ports]


def _entry(port: NvLinkPort, names: dict[str, str], *, some_up: bool, stale: bool, with_version: bool) -> Line:
    counted = {name: count for name, count in (port.errors or {}).items() if count}
    down = port.state == "down"
    if down:
        mark, style, state = (SIGNS["warning"], "warning", "down") if some_up else (SIGNS["info"], "dim", "down")
    elif port.state == "up":
        mark, style, state = SIGNS["ok"], "dim" if stale else "ok", "up"
    else:
        mark, style, state = DASH, "dim", "?"
    line: Line = [Span(f" {port.index:>3} "), Span(mark, style), Span(f" {state:<4}", style if down else "dim")]
    if with_version:
        line.append(Span(f" {clean(port.version or DASH):<4}", "dim"))
    if port.peer is not None:
        line.append(Span(f" {names.get(address(port.peer)) or _peer(port)}"))
    if counted:
        words = ", ".join(f"{clean(name).replace('_', ' ')} {count:,}" for name, count in sorted(counted.items()))
        line.append(Span(f"  {words}", "stale text"))
    elif port.errors is None and not down:
        line.append(Span(f"  errors {DASH}", "dim"))
    return line


def _peer(port: NvLinkPort) -> str:
    bus = clean(port.peer or "").removeprefix("00000000:").removeprefix("0000:")
    return f"{port.peer_type} {bus}" if port.peer_type is not None else bus
