from gpuwatch_agent.hardware.base import Placement
from gpuwatch_agent.model.gpu import Gpu, NvLink, NvLinkPort
from gpuwatch_agent.topology import build_topology


def gpu(index: int, links: list[NvLinkPort] | None = None) -> Gpu:
    nvlink = NvLink(links=links) if links is not None else None
    return Gpu(index=index, uuid=f"GPU-{index}", pci_bus_id=f"00000000:0{index}:00.0", nvlink=nvlink)


def to_gpu(link: int, other: int, state: str = "up") -> NvLinkPort:
    return NvLinkPort(index=link, state="up" if state == "up" else "down", peer=f"0000:0{other}:00.0", peer_type="gpu")


def to_switch(link: int, state: str = "up") -> NvLinkPort:
    return NvLinkPort(index=link, state="up" if state == "up" else "down", peer="00000000:C0:00.0", peer_type="switch")


def matrix(gpus: list[Gpu], placements: dict[int, Placement]) -> list[list[str | None]]:
    return build_topology(gpus, placements, node="n", taken_at=0.0, simulated=False).matrix


def test_direct_links_are_counted_per_pair() -> None:
    """A hybrid mesh has pairs with two links, with one, and with none, which fall back to PCIe's words."""
    gpus = [
        gpu(0, [to_gpu(0, 1), to_gpu(1, 1), to_gpu(2, 2)]),
        gpu(1, [to_gpu(0, 0), to_gpu(1, 0)]),
        gpu(2, [to_gpu(0, 0)]),
    ]
    placements = {0: Placement(ancestors={1: "PIX", 2: "NODE"}), 1: Placement(ancestors={0: "PIX", 2: "SYS"})}
    assert matrix(gpus, placements) == [["X", "NV2", "NV1"], ["NV2", "X", "SYS"], ["NV1", "SYS", "X"]]


def test_links_through_switches_count_the_fewer_of_both_ends() -> None:
    """One link down on one GPU shows in every pair it belongs to, as in nvidia-smi's matrix."""
    gpus = [
        gpu(0, [to_switch(i) for i in range(18)]),
        gpu(1, [to_switch(i, "down" if i == 11 else "up") for i in range(18)]),
    ]
    assert matrix(gpus, {}) == [["X", "NV17"], ["NV17", "X"]]


def test_an_unknown_path_is_unknown() -> None:
    """A lost GPU's cells are empty, not SYS."""
    assert matrix([gpu(0), gpu(1)], {}) == [["X", None], [None, "X"]]


def test_peer_reads_are_passed_on_as_they_were_said() -> None:
    """P2P status stays in the driver's words; the diagonal is fine."""
    placements = {0: Placement(p2p_read={1: "chipset not supported"})}
    topology = build_topology([gpu(0), gpu(1)], placements, node="n", taken_at=0.0, simulated=False)
    assert topology.p2p_read == [["ok", "chipset not supported"], [None, "ok"]]
    assert topology.p2p_write is None
