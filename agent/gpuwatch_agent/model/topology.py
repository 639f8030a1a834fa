"""How the GPUs of a node are wired, in the words of `nvidia-smi topo -m`."""

from msgspec import Struct

from gpuwatch_agent.model.gpu import NvLink, Pcie

LEGEND: dict[str, str] = {
    "X": "self",
    "SYS": "crosses PCIe and the link between NUMA nodes",
    "NODE": "crosses PCIe and the host bridges within one NUMA node",
    "PHB": "crosses PCIe and one host bridge (the CPU)",
    "PXB": "crosses several PCIe switches, but no host bridge",
    "PIX": "crosses at most one PCIe switch",
    "NV#": "crosses a bonded set of # NVLinks",
}


class TopologyGpu(Struct, frozen=True, kw_only=True):
    """One GPU's place in the machine."""

    index: int
    uuid: str
    name: str | None = None
    pci_bus_id: str | None = None
    numa_node: int | None = None
    cpu_affinity: str | None = None
    pcie: Pcie | None = None
    nvlink: NvLink | None = None


class Topology(Struct, frozen=True, kw_only=True):
    """The whole node's wiring; `matrix[i][j]` stands for the i-th and j-th of `gpus`."""

    schema: int = 1
    node: str
    taken_at: float
    simulated: bool
    gpus: list[TopologyGpu]
    matrix: list[list[str | None]]
    p2p_read: list[list[str | None]] | None = None
    """"ok", or why one GPU can't read the other's memory: chipset, gpu, topology, disabled by setting, unsupported."""
    p2p_write: list[list[str | None]] | None = None
