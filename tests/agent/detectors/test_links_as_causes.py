"""A link is blamed for no more than the bandwidth it lost, and only where the group talks over it."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.nvlink_down import NvlinkDownDetector
from gpuwatch_agent.detectors.pcie_degraded import PcieDegradedDetector
from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, NvLink, NvLinkPort, Pcie
from support.ranks import late, ranks
from support.windows import Change, Story

BUS = ("00000000:1B:00.0", "00000000:43:00.0", "00000000:52:00.0", "00000000:61:00.0")
SWITCH = "00000000:07:00.0"
WIDE = Pcie(gen=4, gen_max=4, width=16, width_max=16, tx_bytes_per_s=0.3e9, rx_bytes_per_s=0.3e9)


def wired(peers: list[str], count: int = 4, nvlink: float | None = 18e9, pcie: float | None = 0.3e9) -> list[Gpu]:
    """A group of which each GPU's NVLinks lead to one peer: a switch, or the board beside it."""
    return [
        structs.replace(
            gpu,
            pci_bus_id=BUS[gpu.index],
            nvlink=NvLink(
                active=18, total=18, tx_bytes_per_s=nvlink, rx_bytes_per_s=nvlink, links=ports(peers[gpu.index], 18)
            ),
            pcie=structs.replace(WIDE, tx_bytes_per_s=pcie, rx_bytes_per_s=pcie),
        )
        for gpu in ranks(count, activity=False)
    ]


def ports(peer: str, up: int) -> list[NvLinkPort]:
    kind = "switch" if peer == SWITCH else "gpu"
    return [
        NvLinkPort(index=link, state="up", peer=peer, peer_type="switch" if kind == "switch" else "gpu")
        if link < up
        else NvLinkPort(index=link, state="down")
        for link in range(18)
    ]


def switched(**more: float | None) -> list[Gpu]:
    return wired([SWITCH] * 4, **more)  # type: ignore[arg-type]  # rates by name


def bridged(**more: float | None) -> list[Gpu]:
    return wired([BUS[1], BUS[0], BUS[3], BUS[2]], **more)  # type: ignore[arg-type]  # rates by name


def fewer_links(up: int, share: float) -> Change:
    """GPU 1 keeps so many of its links, and the group moves this share of its bytes."""

    def change(gpu: Gpu, second: int) -> Gpu:
        assert gpu.nvlink is not None
        rate = (gpu.nvlink.tx_bytes_per_s or 0.0) * share
        nvlink = structs.replace(gpu.nvlink, tx_bytes_per_s=rate, rx_bytes_per_s=rate)
        if gpu.index == 1:
            nvlink = structs.replace(nvlink, active=up, links=ports(SWITCH, up))
        return structs.replace(gpu, nvlink=nvlink)

    return change


def narrow(share: float, width: int = 2) -> Change:
    """The PCIe link of GPU 1 has lost lanes, and all ranks work and move less than before."""

    def change(gpu: Gpu, second: int) -> Gpu:
        assert gpu.nvlink is not None
        assert gpu.pcie is not None
        over_nvlink, over_pcie = gpu.nvlink.tx_bytes_per_s, gpu.pcie.tx_bytes_per_s
        less = over_pcie * share if over_pcie is not None else None
        nvlink = structs.replace(gpu.nvlink, tx_bytes_per_s=over_nvlink * share if over_nvlink is not None else None)
        lanes = width if gpu.index == 1 else 16
        pcie = structs.replace(gpu.pcie, width=lanes, tx_bytes_per_s=less, rx_bytes_per_s=less)
        return structs.replace(gpu, nvlink=nvlink, pcie=pcie, power_w=460.0)

    return change


def told(gpus: list[Gpu], change: Change, healthy_s: int = 180) -> list[Finding]:
    story = Story(gpus, [TpImbalanceDetector()])
    assert story.passes(healthy_s) == []
    return story.passes(60, change)


def test_demand_that_halves_is_no_work_of_one_link_of_eighteen() -> None:
    """An eighteenth of the bandwidth can't cost half of the pace: nothing is told, though the bytes fell by half."""
    assert told(switched(), fewer_links(17, 0.5)) == []


def test_no_more_is_claimed_than_the_bandwidth_that_is_gone() -> None:
    """A third of the links down, two thirds of the bytes missing: at most a third of the pace is put down to it."""
    (finding,) = told(switched(nvlink=200e9), fewer_links(12, 0.33))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "nvlink_down")
    assert finding.evidence["pace_estimated"] == pytest.approx(0.67, abs=0.01)
    assert "about 67 % of its pace" in finding.summary


def test_a_link_that_hardly_carries_anything_costs_hardly_anything() -> None:
    """Half of the links down under a trickle of bytes: the time they take bounds what can be lost."""
    assert told(switched(nvlink=0.2e9, pcie=0.01e9), fewer_links(9, 0.6)) == []


@pytest.mark.parametrize("counted", [True, False])
def test_pcie_is_not_the_cause_where_nvlink_joins_all(counted: bool) -> None:
    """Work falls after the PCIe link of one came down, but the ranks talk over the switch: counted or not, it is demand."""
    rates = {} if counted else {"nvlink": None, "pcie": None}
    assert told(switched(**rates), narrow(0.6)) == []


def test_pcie_is_the_cause_where_bridges_join_but_pairs() -> None:
    """Between the pairs all must go over PCIe, counted or not."""
    for rates in ({"nvlink": 4e9, "pcie": 6e9}, {"nvlink": None, "pcie": None}):
        (finding,) = told(bridged(**rates), narrow(0.6))
        assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "pcie_link")
        assert finding.evidence["bandwidth_lost_pct"] == 88


def test_pcie_is_the_cause_where_nvlink_is_left_aside() -> None:
    """Joined by a switch, but told not to use it: most bytes go over PCIe, so the narrow link is in the way."""
    (finding,) = told(switched(nvlink=0.0, pcie=6e9), narrow(0.6))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "pcie_link")


def test_a_silent_pcie_link_is_not_the_cause_of_a_late_rank() -> None:
    """The ranks wait for one whose link is odd too: without bytes on it, the cause stays unknown."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(1, pace=0.7)(gpu, second)
        lanes = 4 if gpu.index == 1 else 16
        return structs.replace(gpu, pcie=structs.replace(WIDE, width=lanes, tx_bytes_per_s=1e5, rx_bytes_per_s=1e5))

    (finding,) = told(ranks(4), change)
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "unknown")


def test_a_late_rank_is_not_put_down_to_one_link_that_is_missing() -> None:
    """A fifth of the pace is lost to a rank that has lost an eighteenth of its links: that does not explain it."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = fewer_links(17, 1.0)(late(1, pace=0.7)(gpu, second), second)
        return structs.replace(gpu, sm_activity_pct=62.0 if gpu.index == 1 else 47.0)

    gpus = [structs.replace(gpu, sm_activity_pct=62.0) for gpu in switched()]
    (finding,) = told(gpus, change)
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "unknown")


def test_the_link_that_told_is_the_one_that_is_named() -> None:
    """NVLinks of a rank went down and bytes with them; that its slot has always been narrow is another story."""
    slots = [
        structs.replace(gpu, pcie=structs.replace(WIDE, width=8 if gpu.index == 1 else 16))
        for gpu in switched(nvlink=100e9)
    ]
    (finding,) = told(slots, fewer_links(9, 0.6))
    assert finding.evidence["cause_kind"] == "nvlink_down"
    assert "NVLinks are up" in finding.summary


def test_a_link_down_beside_a_group_that_talks_over_pcie_is_not_said_to_slow_it() -> None:
    """The finding of the link itself says what is gone, not that the group waits for it."""
    story = Story(switched(nvlink=0.0, pcie=6e9), [NvlinkDownDetector()])
    assert story.passes(30) == []
    pcie_goes_on = structs.replace(WIDE, tx_bytes_per_s=6e9, rx_bytes_per_s=6e9)

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = fewer_links(9, 0.0)(gpu, second)
        return structs.replace(gpu, pcie=pcie_goes_on)

    (finding,) = story.passes(60, change)
    assert (finding.severity, finding.evidence["group"]) == ("warning", None)
    assert "50 % of its NVLink bandwidth is gone" in finding.summary


def test_a_narrow_link_is_said_to_slow_traffic_between_gpus_only_where_that_goes_over_it() -> None:
    """Behind a switch it slows loading; between bridged pairs the exchange as well."""
    for gpus, slows in (
        (switched(), "so loading and offloading take 8 times as long"),
        (bridged(nvlink=4e9, pcie=6e9), "so loading, offloading and traffic between GPUs take 8 times as long"),
    ):
        story = Story(gpus, [PcieDegradedDetector()])
        assert story.passes(60) == []
        (finding,) = story.passes(60, narrow(0.9))
        assert slows in finding.summary
