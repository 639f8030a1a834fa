"""Noise on NVLinks, link by link."""

from collections.abc import Mapping

from msgspec import structs

from gpuwatch_agent.detectors.nvlink_errors import NvlinkErrorsDetector
from gpuwatch_agent.model.gpu import Gpu, NvLink, NvLinkPort, Xid
from support.windows import Change, Story

NONE = {"replay": 7, "recovery": 0, "crc_flit": 40, "crc_data": 3}


def row(index: int, errors: Mapping[int, Mapping[str, int]], xids: list[Xid] | None = None) -> Gpu:
    ports = [
        NvLinkPort(
            index=link, state="up", peer="00000000:07:00.0", peer_type="switch", errors={**NONE, **errors.get(link, {})}
        )
        for link in range(6)
    ]
    return Gpu(index=index, uuid=f"GPU-{index}", nvlink=NvLink(active=6, total=6, links=ports), xids=xids)


GPUS = [row(0, {}), row(1, {})]


def growing(links: tuple[int, ...], per_s: Mapping[str, float], until: int = 100_000) -> Change:
    """GPU 1, as the slow tier reads it: every ten seconds."""

    def change(gpu: Gpu, second: int) -> Gpu:
        if gpu.index != 1:
            return gpu
        passed = min(second, until) // 10 * 10
        grown = {name: NONE.get(name, 0) + int(rate * passed) for name, rate in per_s.items()}
        return row(1, dict.fromkeys(links, grown))

    return change


def test_a_noisy_link_is_named_with_its_peer() -> None:
    """Which link, to where, how much a minute."""
    (finding,) = Story(GPUS, [NvlinkErrorsDetector()]).passes(90, growing((2,), {"replay": 25.0}))
    assert (finding.severity, finding.gpus) == ("warning", [1])
    assert "NVLink 2 of GPU 1 is noisy: 1,500 replays within a minute" in finding.summary
    assert finding.evidence["peer"] == "00000000:07:00.0"


def test_several_noisy_links_are_one_finding() -> None:
    """A person looks at a board, not at links one by one."""
    (finding,) = Story(GPUS, [NvlinkErrorsDetector()]).passes(90, growing((2, 5), {"crc_flit": 5.0}))
    assert "NVLinks 2 and 5 of GPU 1" in finding.summary


def test_a_flood_of_check_sum_errors_is_critical() -> None:
    """More than a hundred a second: DCGM's own bound for a failure."""
    (finding,) = Story(GPUS, [NvlinkErrorsDetector()]).passes(90, growing((2,), {"crc_flit": 150.0}))
    assert finding.severity == "critical"


def test_recoveries_count_over_ten_minutes_and_failed_ones_at_once() -> None:
    """A link trained anew twice in ten minutes is a warning; one that could not be is critical."""
    story = Story(GPUS, [NvlinkErrorsDetector()])
    (finding,) = story.passes(500, growing((4,), {"recovery": 0.005}))
    assert (finding.severity, finding.evidence["recoveries_per_10_min"]) == ("warning", 2)
    assert "trained anew 2 times in ten minutes" in finding.summary
    story = Story([row(0, {}), row(1, {3: {"recovery_failed": 0}})], [NvlinkErrorsDetector()])
    failing = row(1, {3: {"recovery_failed": 1}})
    (finding,) = story.passes(60, lambda gpu, second: failing if gpu.index == 1 and second > 20 else gpu)
    assert finding.severity == "critical"
    assert "trained anew 1 time in vain" in finding.summary


def test_an_xid_beside_it_is_quoted() -> None:
    """Xid 74 and the counters are one story."""
    xid = Xid(code=74, count=1, last_seen=0.0)

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(growing((2,), {"replay": 25.0})(gpu, second), xids=[xid])

    (finding,) = Story(GPUS, [NvlinkErrorsDetector()]).passes(90, change)
    assert "Xid 74" in str(finding.cause)


def test_what_healthy_links_count_is_not_told() -> None:
    """Totals at the start, a few replays, one burst as a peer was reset, one recovery."""
    for change in (
        growing((2,), {}),
        growing((2,), {"replay": 0.1}),
        growing((1, 2, 3), {"replay": 900.0}, until=10),
        growing((2,), {"recovery": 0.1}, until=10),
    ):
        assert Story(GPUS, [NvlinkErrorsDetector()]).passes(120, change) == []


def test_it_ends_when_the_link_is_quiet() -> None:
    """Noise that stops is gone from the window a minute later, and told for another."""
    story = Story(GPUS, [NvlinkErrorsDetector()])
    noise = growing((2,), {"replay": 25.0}, until=90)
    assert len(story.passes(120, noise)) == 1
    assert story.passes(100, noise) == []


def test_resets_gaps_and_absent_counters_invent_nothing() -> None:
    """Counters that start afresh, links without counters, a GPU that goes stale and comes back."""

    def reset(gpu: Gpu, second: int) -> Gpu:
        return row(gpu.index, {link: dict.fromkeys(NONE, 0) for link in range(6)}) if second > 30 else gpu

    def silent(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, state="stale") if second % 20 < 10 else gpu

    bare = [Gpu(index=0, uuid="G", nvlink=NvLink(links=[NvLinkPort(index=0, state="up")])), Gpu(index=1, uuid="H")]
    assert Story(GPUS, [NvlinkErrorsDetector()]).passes(120, reset) == []
    assert Story(GPUS, [NvlinkErrorsDetector()]).passes(120, silent) == []
    assert Story(bare, [NvlinkErrorsDetector()]).passes(60) == []


BUS = ("00000000:1B:00.0", "00000000:43:00.0", "00000000:52:00.0", "00000000:61:00.0")


def bridged(index: int, errors: Mapping[int, Mapping[str, int]]) -> Gpu:
    """A board with four links to the one beside it; its driver prints the peer with a short domain."""
    ports = [
        NvLinkPort(
            index=link, state="up", peer=BUS[index ^ 1][4:], peer_type="gpu", errors={**NONE, **errors.get(link, {})}
        )
        for link in range(4)
    ]
    return Gpu(index=index, uuid=f"GPU-{index}", pci_bus_id=BUS[index], nvlink=NvLink(active=4, total=4, links=ports))


def noisy_at(ends: Mapping[int, float]) -> Change:
    """Link 2 of these boards counts so many replays a second."""

    def change(gpu: Gpu, second: int) -> Gpu:
        per_s = ends.get(gpu.index)
        passed = second // 10 * 10
        return gpu if per_s is None else bridged(gpu.index, {2: {"replay": NONE["replay"] + int(per_s * passed)}})

    return change


def test_a_noisy_bridge_is_one_finding_with_both_ends() -> None:
    """Both boards count: the bridge between them is named once, with the worse end's numbers; the other pair is left out."""
    story = Story([bridged(index, {}) for index in range(4)], [NvlinkErrorsDetector()])
    (finding,) = story.passes(90, noisy_at({0: 5.0, 1: 25.0}))
    assert (finding.severity, finding.gpus) == ("warning", [0, 1])
    assert finding.summary.startswith("NVLink 2 of GPU 1 is noisy: 1,500 replays within a minute")
    assert finding.cause == "Link 2, to GPU 0, corrupts packets, at both ends (GPUs 0 and 1)."


def test_a_bridge_that_counts_at_one_end_names_that_end_and_its_peer() -> None:
    """The counters of one end are enough; when the other joins in, it is the same finding."""
    story = Story([bridged(index, {}) for index in range(4)], [NvlinkErrorsDetector()])
    (finding,) = story.passes(90, noisy_at({1: 25.0}))
    assert finding.gpus == [1]
    assert "to GPU 0" in str(finding.cause)
    (later,) = story.passes(90, noisy_at({0: 25.0, 1: 25.0}))
    assert (later.key, later.since, later.gpus) == (finding.key, finding.since, [0, 1])


def test_two_noisy_bridges_are_two_findings() -> None:
    """Each is a part to exchange."""
    story = Story([bridged(index, {}) for index in range(4)], [NvlinkErrorsDetector()])
    findings = story.passes(90, noisy_at(dict.fromkeys(range(4), 25.0)))
    assert sorted(one.gpus for one in findings) == [[0, 1], [2, 3]]
