"""NVLinks that are down: only those that were up, or that siblings have up."""

from collections.abc import Collection, Sequence

from msgspec import structs

from gpuwatch_agent.detectors.nvlink_down import NvlinkDownDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Mig, NvLink, NvLinkPort
from gpuwatch_agent.model.host import Host
from support.windows import Change, Story

BUS = ("00000000:1B:00.0", "00000000:43:00.0", "00000000:52:00.0", "00000000:61:00.0")
SWITCH = "00000000:07:00.0"


def switched(index: int, down: Collection[int] = ()) -> Gpu:
    """A board with six links to a switch."""
    return Gpu(index=index, uuid=f"GPU-{index}", name="H100", pci_bus_id=BUS[index], nvlink=links_to(SWITCH, down, 6))


def bridged(index: int, down: Collection[int] = ()) -> Gpu:
    """A board with four links to the one beside it."""
    peer = BUS[index ^ 1]
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name="RTX 3090",
        pci_bus_id=BUS[index],
        nvlink=links_to(peer, down, 4, peer_type="gpu"),
    )


def links_to(peer: str, down: Collection[int], count: int, peer_type: str = "switch") -> NvLink:
    ports = [
        NvLinkPort(index=link, state="down")
        if link in down
        else NvLinkPort(index=link, state="up", peer=peer, peer_type="gpu" if peer_type == "gpu" else "switch")
        for link in range(count)
    ]
    return NvLink(active=count - len(down), total=count, links=ports)


def turning(*others: Gpu) -> Change:
    """From the 30th second on these rows instead of those of the start."""
    by_index = {gpu.index: gpu for gpu in others}
    return lambda gpu, second: by_index.get(gpu.index, gpu) if second >= 30 else gpu


def told(gpus: Sequence[Gpu], seconds: int = 60, **settings: object) -> list[Finding]:
    return Story(gpus, [NvlinkDownDetector()], {"nvlink_down": settings}).passes(seconds)


def test_a_link_that_siblings_have_is_missed() -> None:
    """Number, share, peer as siblings have it; a warning while no group runs over it."""
    (finding,) = told([switched(index, {2} if index == 1 else ()) for index in range(4)])
    assert (finding.severity, finding.gpus) == ("warning", [1])
    assert "NVLink 2 of GPU 1 is down (5 of 6 up)" in finding.summary
    assert finding.evidence["peers"] == f"switch {SWITCH}"


def test_a_link_that_goes_down_under_a_group_is_critical() -> None:
    """The group is named, with what it costs; the past alone is yardstick enough."""
    story = Story([switched(0), switched(1)], [NvlinkDownDetector()], groups={"trainer": [0, 1]})
    (finding,) = story.passes(60, turning(switched(0, {4, 5}), switched(1, {4, 5})))[:1]
    assert (finding.severity, finding.gpus) == ("critical", [0])
    assert "NVLinks 4 and 5" in finding.summary
    assert "trainer" in finding.summary
    assert "up to 33 % less" in finding.summary


def test_all_links_down_is_told_where_there_is_a_switch() -> None:
    """A board beside others on the same switch has links, whatever it says."""
    (finding,) = told([switched(index, range(6) if index == 3 else ()) for index in range(4)])
    assert finding.gpus == [3]
    assert "(0 of 6 up)" in finding.summary


def test_a_direct_link_is_one_finding_for_both_ends() -> None:
    """Seen going down, or down from the first on both."""
    story = Story([bridged(index) for index in range(4)], [NvlinkDownDetector()])
    (finding,) = story.passes(60, turning(bridged(0, {1}), bridged(1, {1})))
    assert finding.gpus == [0, 1]
    assert "between GPUs 0 and 1" in finding.summary
    assert finding.evidence["peers"] == "GPU 1"
    (finding,) = told([bridged(0, {1}), bridged(1, {1}), bridged(2), bridged(3)])
    assert finding.gpus == [0, 1]


def test_a_board_without_a_bridge_lacks_nothing() -> None:
    """All ports down, while a pair beside it is bridged; and a machine whose ports nobody wired."""
    assert told([bridged(0), bridged(1), bridged(2, range(4)), bridged(3, range(4))]) == []
    assert told([bridged(index, range(4)) for index in range(4)]) == []


def test_ports_that_no_sibling_has_are_not_missed() -> None:
    """Boards with more ports than the machine has wires."""
    assert told([switched(index, {4, 5}) for index in range(4)]) == []


def test_mig_takes_links_down_by_design() -> None:
    """A GPU in MIG mode, and one that is about to be, lacks nothing, nor is it a yardstick."""
    cut = structs.replace(switched(1, range(6)), mig=Mig(enabled=True))
    assert told([switched(0), cut]) == []
    pending = structs.replace(switched(1, range(6)), mig=Mig(enabled=False, pending=True))
    assert told([switched(0), pending]) == []


def test_bridges_that_differ_on_purpose_can_be_declared() -> None:
    """With compare_siblings off only the past counts."""
    gpus = [bridged(0), bridged(1), bridged(2, {3}), bridged(3, {3})]
    assert len(told(gpus)) == 1
    assert told(gpus, compare_siblings=False) == []


def test_a_short_absence_is_not_said_and_a_return_ends_it() -> None:
    """Links train anew when a peer is reset: fifteen seconds of patience; back up, it is over."""
    story = Story([switched(0), switched(1)], [NvlinkDownDetector()])
    story.passes(30)
    assert story.passes(12, turning(switched(0, {1}))) == []
    assert story.passes(30) == []
    assert len(story.passes(30, turning(switched(0, {1})))) == 1
    assert story.passes(35) == []


def test_boot_is_a_time_of_grace() -> None:
    """Links train for minutes after the machine's start."""
    story = Story([switched(0), switched(1, {3}), switched(2)], [NvlinkDownDetector()])
    story.frame = structs.replace(story.frame, host=Host(uptime_s=100.0))
    assert story.passes(60) == []
    story.frame = structs.replace(story.frame, host=Host(uptime_s=4000.0))
    assert len(story.passes(30)) == 1


def test_gpus_that_come_and_go_or_say_nothing_invent_no_links() -> None:
    """A lost sibling, a stale one, rows without NVLink, ports without a state."""
    silent = structs.replace(switched(1, range(6)), state="stale")
    blank = structs.replace(switched(2), nvlink=NvLink(links=[NvLinkPort(index=link) for link in range(6)]))
    assert told([switched(0), silent, blank, structs.replace(switched(3), nvlink=None)]) == []
    story = Story([switched(0), switched(1)], [NvlinkDownDetector()])
    story.passes(30)
    story.gpus = [switched(0)]
    assert story.passes(60) == []
