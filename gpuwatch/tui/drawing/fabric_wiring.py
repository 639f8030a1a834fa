"""How the GPUs of a frame are joined, and which of them stands out."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line
from gpuwatch.render.facts import RANK, links_down, narrow_link
from gpuwatch.render.text import SIGNS
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, NvLinkPort
from gpuwatch_agent.model.topology import Topology

_FABRIC_KINDS = frozenset(
    {"nvlink_down", "nvlink_errors", "pcie_degraded", "pcie_errors", "fabric_error", "gpu_lost", "gpu_stale"}
)


class Wiring(Struct, frozen=True):
    """What stays while the numbers change: where each GPU sits, and what its NVLinks lead to."""

    numa: dict[int, int]
    cpus: dict[int, str]
    switches: list[str]
    """Bus ids of the switches that NVLinks lead to."""
    peers: dict[int, Counter[int]]
    """Of each GPU, how many links go straight to which other one."""

    @property
    def switched(self) -> bool:
        """Whether all meet at switches."""
        return bool(self.switches)

    @property
    def bridged(self) -> bool:
        """Whether some are joined directly."""
        return any(self.peers.values())


def wiring_of(frame: Frame, topology: Topology | None) -> Wiring:
    """From what the ports say now, else from when the wiring was read."""
    placed = {place.uuid: place for place in topology.gpus} if topology is not None else {}
    addresses = {address(gpu.pci_bus_id): gpu.index for gpu in frame.gpus if gpu.pci_bus_id}
    numa: dict[int, int] = {}
    cpus: dict[int, str] = {}
    switches: set[str] = set()
    peers: dict[int, Counter[int]] = {}
    for gpu in frame.gpus:
        place = placed.get(gpu.uuid)
        node = gpu.numa_node if gpu.numa_node is not None else place.numa_node if place is not None else None
        if node is not None:
            numa[gpu.index] = node
            if place is not None and place.cpu_affinity:
                cpus[node] = place.cpu_affinity
        peers[gpu.index] = Counter()
        for port in ports_of(gpu, topology):
            if port.peer is None:
                continue
            if port.peer_type == "switch":
                switches.add(port.peer)
            elif address(port.peer) in addresses:
                peers[gpu.index][addresses[address(port.peer)]] += 1
    return Wiring(numa, cpus, sorted(switches), peers)


def ports_of(gpu: Gpu, topology: Topology | None) -> Sequence[NvLinkPort]:
    """The GPU's NVLinks one by one; from when the wiring was read where the moment does not hold them."""
    if gpu.nvlink is not None and gpu.nvlink.links is not None:
        return gpu.nvlink.links
    for place in topology.gpus if topology is not None else ():
        if place.uuid == gpu.uuid and place.nvlink is not None:
            return place.nvlink.links or ()
    return ()


def address(bus_id: str | None) -> str:
    """Bus ids are written with four or eight digits of domain, in either case."""
    return (bus_id or "").lower()[-12:]


def summary_line(frame: Frame, wiring: Wiring, width: int) -> Line:
    """What joins the GPUs, in one sentence, with what is odd."""
    gpus = frame.gpus
    line: Line = [Span(" "), Span(_joined_in_words(gpus, wiring))]
    odd = [gpu.index for gpu in gpus if mark_of(gpu, frame)]
    if odd:
        worst = max((mark_of(gpu, frame) for gpu in gpus), key=lambda mark: RANK[mark])
        words = f"GPU {', '.join(map(str, odd))} {'is' if len(odd) == 1 else 'are'} not as the others"
        line += [Span("   "), Span(SIGNS[worst], worst), Span(f" {words}", f"{worst} text")]
    return fit_line(line, width)


def _joined_in_words(gpus: Sequence[Gpu], wiring: Wiring) -> str:
    if not gpus:
        return "There is no GPU on this node, so nothing is wired."
    several = f"{len(gpus)} GPUs"
    totals = {gpu.nvlink.total for gpu in gpus if gpu.nvlink is not None and gpu.nvlink.total}
    each = f"{max(totals)} NVLinks each" if totals else "NVLinks"
    if len(gpus) == 1:
        told = f", {max(totals)} NVLinks that lead nowhere" if totals and not wiring.switched else ""
        return f"One GPU on PCIe{told if totals else ', no NVLink'}."
    if wiring.switched:
        count = len(wiring.switches)
        return f"{several} meet at {count} NVSwitch{'es' if count > 1 else ''}, {each}."
    if wiring.bridged:
        joined = {index for index, peers in wiring.peers.items() if peers}
        all_pairs = all(len(peers) == 1 for peers in wiring.peers.values() if peers)
        manner = "in pairs" if all_pairs else "one with another"
        rest = "" if len(joined) == len(gpus) else f", {len(gpus) - len(joined)} without"
        return f"{several} are joined {manner}, {each}{rest}."
    return f"{several} without NVLink: they reach each other over PCIe."


def mark_of(gpu: Gpu, frame: Frame) -> str:
    """How bad it stands with the GPU's links: a finding, or what a single reading shows; empty where all is normal."""
    if gpu.state != "ok":
        return gpu.state
    marks = [
        finding.severity
        for finding in frame.findings
        if finding.kind in _FABRIC_KINDS and gpu.index in finding.gpus and finding.severity != "info"
    ]
    if links_down(gpu) or narrow_link(gpu, frame.gpus):
        marks.append("warning")
    return max(marks, key=lambda mark: RANK[mark], default="")
