"""The GPU-to-GPU matrix in `nvidia-smi topo -m` words, from where GPUs sit and what their NVLinks are wired to."""

from collections.abc import Mapping, Sequence

from gpuwatch_agent.hardware.base import Placement
from gpuwatch_agent.model.gpu import Gpu, NvLinkPort
from gpuwatch_agent.model.topology import Topology, TopologyGpu


def build_topology(
    gpus: Sequence[Gpu],
    placements: Mapping[int, Placement],
    *,
    node: str,
    taken_at: float,
    simulated: bool,
) -> Topology:
    """The whole node's wiring as of one frame; `placements` by GPU index."""
    return Topology(
        node=node,
        taken_at=taken_at,
        simulated=simulated,
        gpus=[_place(gpu, placements.get(gpu.index)) for gpu in gpus],
        matrix=[[_word(a, b, placements) for b in gpus] for a in gpus],
        p2p_read=_p2p(gpus, {index: one.p2p_read for index, one in placements.items()}),
        p2p_write=_p2p(gpus, {index: one.p2p_write for index, one in placements.items()}),
    )


def _place(gpu: Gpu, placement: Placement | None) -> TopologyGpu:
    return TopologyGpu(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        pci_bus_id=gpu.pci_bus_id,
        numa_node=gpu.numa_node,
        cpu_affinity=placement.cpu_affinity if placement is not None else None,
        pcie=gpu.pcie,
        nvlink=gpu.nvlink,
    )


def _word(a: Gpu, b: Gpu, placements: Mapping[int, Placement]) -> str | None:
    if a.uuid == b.uuid:
        return "X"
    links = count_links(a, b)
    if links:
        return f"NV{links}"
    for here, there in ((a, b), (b, a)):
        placement = placements.get(here.index)
        if placement is not None and placement.ancestors is not None and there.index in placement.ancestors:
            return placement.ancestors[there.index]
    return None


def count_links(a: Gpu, b: Gpu) -> int:
    """NVLinks that join two GPUs: the direct ones, else those that both have to the switches between them."""
    direct = min(_links_to(a, b.pci_bus_id), _links_to(b, a.pci_bus_id))
    return direct or min(_links_to_switches(a), _links_to_switches(b))


def _up(gpu: Gpu) -> list[NvLinkPort]:
    links = gpu.nvlink.links if gpu.nvlink is not None else None
    return [link for link in links or () if link.state == "up"]


def _links_to(gpu: Gpu, pci_bus_id: str | None) -> int:
    wanted = _address(pci_bus_id)
    return sum(wanted is not None and _address(link.peer) == wanted for link in _up(gpu))


def _links_to_switches(gpu: Gpu) -> int:
    return sum(link.peer_type == "switch" for link in _up(gpu))


def _address(pci_bus_id: str | None) -> str | None:
    """Bus ids are written with four or eight digits of domain, in either case."""
    return pci_bus_id.lower()[-12:] if pci_bus_id else None


def _p2p(gpus: Sequence[Gpu], known: Mapping[int, dict[int, str] | None]) -> list[list[str | None]] | None:
    if not any(known.values()):
        return None
    return [["ok" if a.uuid == b.uuid else (known.get(a.index) or {}).get(b.index) for b in gpus] for a in gpus]
