"""PCIe links: what is a fault, what is the slot, and what is only sleep."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.pcie_degraded import PcieDegradedDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Pcie
from support.windows import Change, Story


def board(index: int, *, gen: int = 5, width: int = 16, name: str = "H100", util: float | None = 95.0) -> Gpu:
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name=name,
        utilization_pct=util,
        pstate=0,
        pcie=Pcie(gen=gen, gen_max=5, width=width, width_max=16),
    )


def with_link(index: int, *, gen: int = 5, width: int = 16, util: float | None = 95.0, pstate: int = 0) -> Change:
    def change(gpu: Gpu, _: int) -> Gpu:
        if gpu.index != index or gpu.pcie is None:
            return gpu
        link = structs.replace(gpu.pcie, gen=gen, width=width)
        return structs.replace(gpu, pcie=link, utilization_pct=util, pstate=pstate)

    return change


def told(gpus: list[Gpu], seconds: int = 60, change: Change | None = None, **settings: object) -> list[Finding]:
    story = Story(gpus, [PcieDegradedDetector()], {"pcie_degraded": settings})
    return story.passes(seconds, change) if change else story.passes(seconds)


def test_the_narrow_one_among_siblings_is_named_with_its_cost() -> None:
    """Lanes now and expected, the bandwidth of both, what to do."""
    (finding,) = told([board(index, width=4 if index == 2 else 16) for index in range(4)])
    assert (finding.severity, finding.gpus) == ("warning", [2])
    assert "×4 Gen5 instead of ×16 Gen5: 16 of 63 GB/s" in finding.summary
    assert "siblings" in str(finding.cause)
    assert finding.evidence["width_expected"] == 16


def test_a_link_that_comes_down_is_told_even_without_siblings() -> None:
    """Its own past is the yardstick."""
    story = Story([board(0)], [PcieDegradedDetector()])
    assert story.passes(30) == []
    (finding,) = story.passes(60, with_link(0, width=8))
    assert (finding.severity, finding.evidence["width"]) == ("warning", 8)
    assert "come down" in str(finding.cause)


def test_a_generation_that_falls_under_load_is_told() -> None:
    """Sixteen times slower at Gen1 of 5."""
    story = Story([board(0), board(1)], [PcieDegradedDetector()])
    story.passes(30)
    (finding,) = story.passes(60, with_link(1, gen=1))
    assert finding.gpus == [1]
    assert "16 times as long" in finding.summary


def test_a_link_asleep_is_no_fault() -> None:
    """At idle generations fall by design: by utilisation, by performance state, and where neither is known."""
    gpus = [board(index) for index in range(2)]
    for change in (
        with_link(1, gen=1, util=0.0),
        with_link(1, gen=1, util=60.0, pstate=8),
        with_link(1, gen=1, util=None),
    ):
        story = Story(gpus, [PcieDegradedDetector()])
        story.passes(30)
        assert story.passes(90, change) == []


def test_waking_up_is_no_fault() -> None:
    """Load that comes and goes every few seconds, with readings that lag behind it."""

    def change(gpu: Gpu, second: int) -> Gpu:
        busy = second % 12 < 6
        assert gpu.pcie is not None
        link = structs.replace(gpu.pcie, gen=5 if 2 <= second % 12 < 8 else 1)
        return structs.replace(gpu, utilization_pct=80.0 if busy else 0.0, pcie=link)

    assert told([board(0), board(1)], 180, change) == []


def test_slots_wired_for_less_are_one_quiet_remark() -> None:
    """×8 of ×16 on all boards from the first: info, once for the machine."""
    (finding,) = told([board(index, width=8) for index in range(4)])
    assert (finding.severity, finding.gpus) == ("info", [0, 1, 2, 3])
    assert "limit of the slots" in finding.summary


def test_half_the_slots_wired_for_less_is_wiring_too() -> None:
    """Four of eight alike are no odd one out."""
    findings = told([board(index, width=8 if index < 4 else 16) for index in range(8)])
    assert [(finding.severity, finding.gpus) for finding in findings] == [("info", [0, 1, 2, 3])]


def test_other_boards_are_no_siblings() -> None:
    """A small board at ×8 beside large ones at ×16 is measured by itself."""
    findings = told([board(0), board(1), board(2, width=8, name="L4")])
    assert [finding.severity for finding in findings] == ["info"]


def test_unequal_slots_can_be_declared() -> None:
    """With compare_siblings off only the past counts."""
    gpus = [board(0), board(1, width=4)]
    assert [finding.severity for finding in told(gpus)] == ["warning"]
    assert [finding.severity for finding in told(gpus, compare_siblings=False)] == ["info"]


def test_far_below_what_board_and_slot_can_do_is_a_warning_for_all() -> None:
    """Two generations below are not how a slot is wired, even where all GPUs are so."""
    findings = told([board(index, gen=3) for index in range(2)])
    assert [finding.severity for finding in findings] == ["warning", "warning"]


def test_lanes_stay_told_while_the_gpu_rests() -> None:
    """They do not come back for want of load; they end the finding when they are back."""
    story = Story([board(0), board(1)], [PcieDegradedDetector()])
    story.passes(30)
    story.passes(60, with_link(1, width=4))
    (finding,) = story.passes(300, with_link(1, width=4, gen=1, util=0.0))
    assert finding.evidence["width"] == 4
    assert story.passes(150) == []


@pytest.mark.parametrize("state", ["stale", "lost"])
def test_a_gpu_that_does_not_answer_gives_no_evidence(state: str) -> None:
    """Its last values are old."""
    gpus = [board(0), structs.replace(board(1, width=4), state=state)]
    assert told(gpus) == []


def test_absent_readings_are_nobodys_fault() -> None:
    """No link told, no generation, no width, no maximum."""
    bare = [
        structs.replace(board(0), pcie=None),
        structs.replace(board(1), pcie=Pcie()),
        structs.replace(board(2), pcie=Pcie(gen=4)),
        structs.replace(board(3), pcie=Pcie(width=8)),
    ]
    assert told(bare) == []


def test_a_reading_that_drops_out_does_not_end_the_load() -> None:
    """Whom it concerns stays the same while utilisation is unread for a second; when it is read as idle it ends."""

    def unread(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, utilization_pct=None) if second % 10 == 9 and gpu.index == 1 else gpu

    story = Story([board(index, width=8) for index in range(2)], [PcieDegradedDetector()])
    story.passes(40)
    for _ in range(20):
        (finding,) = story.passes(1, unread)
        assert (finding.severity, finding.gpus) == ("info", [0, 1])
