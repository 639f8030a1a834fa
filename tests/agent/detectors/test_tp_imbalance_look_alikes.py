"""What power alone may say, and what loading, desktops and links without counters look like."""

from random import Random

from msgspec import structs

from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.model.gpu import Gpu, NvLink, Pcie
from gpuwatch_agent.model.process import Process
from support.ranks import GIB, late, ranks, with_bytes
from support.windows import START, Story


def story(gpus: list[Gpu]) -> Story:
    return Story(gpus, [TpImbalanceDetector()])


def test_boards_that_draw_unlike_by_birth_are_not_told_before_there_is_a_past() -> None:
    """A tenth between two boards and less among eight is silicon and its sensor, from the first second on."""
    two = [structs.replace(gpu, power_w=560.0 + 60.0 * gpu.index) for gpu in ranks(2, activity=False)]
    assert story(two).passes(90) == []
    eight = [structs.replace(gpu, power_w=650.0 if gpu.index == 3 else 600.0) for gpu in ranks(8, activity=False)]
    assert story(eight).passes(90) == []


def test_less_demand_makes_no_much_of_a_little_difference() -> None:
    """Two boards that differ a little from before, and fewer bytes since fewer people ask."""
    told = story(ranks(2, activity=False))
    told.passes(180)

    def fewer(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(with_bytes(gpu, 0.75), power_w=500.0 if gpu.index else 488.0)

    assert told.passes(120, fewer) == []


def test_a_job_that_warms_up_after_loading_is_not_at_work() -> None:
    """Some ranks spin, one compiles now and then; nothing is said for two minutes after the last one has loaded."""
    young = [
        structs.replace(gpu, processes=[structs.replace(one, started_at=START) for one in gpu.processes or ()])
        for gpu in ranks(2, activity=False, counters=False)
    ]

    def warming_up(gpu: Gpu, second: int) -> Gpu:
        loaded = min(60, second if gpu.index else 2 * second)
        busy = (0.0, 60.0, 100.0)[second % 3] if gpu.index else 100.0
        return structs.replace(
            gpu, memory_used_bytes=(1 + loaded) * GIB, utilization_pct=busy, power_w=200.0 + 3 * busy
        )

    told = story(young)
    assert told.passes(160, warming_up) == []
    assert [finding.gpus for finding in told.passes(90, late(1, pace=0.6))] == [[1]]


def test_a_desktop_is_no_cause_but_a_stranger_that_computes_is() -> None:
    """The late rank also drives a screen."""
    xorg = Process(pid=2001, user="root", name="Xorg", command="Xorg", kind="graphics", memory_bytes=GIB)
    gpus = ranks(4)
    gpus[0] = structs.replace(gpus[0], processes=[*(gpus[0].processes or ()), xorg])
    told = story(gpus)
    told.passes(150)
    (finding,) = told.passes(40, late(0, pace=0.7))
    assert finding.cause is None
    computes = structs.replace(xorg, kind="compute", name="train.py", command="train.py")
    gpus[0] = structs.replace(gpus[0], processes=[*(ranks(4)[0].processes or ()), computes])
    told = story(gpus)
    told.passes(150)
    (finding,) = told.passes(40, late(0, pace=0.7))
    assert finding.evidence["cause_kind"] == "noisy_neighbour"


def test_one_sibling_that_is_odd_itself_does_not_make_another_late() -> None:
    """Of three ranks one has drawn more than it does now, for a stranger was there: the others are as ever."""
    told = story(ranks(3, activity=False))
    told.passes(180, lambda gpu, _: structs.replace(gpu, power_w=690.0) if gpu.index == 0 else gpu)
    assert told.passes(90, lambda gpu, _: structs.replace(gpu, power_w=640.0) if gpu.index == 1 else gpu) == []


def test_hardware_that_slows_itself_down_is_named_as_the_cause() -> None:
    """The flag has no counter of its own; clock and flag go together."""
    told = story(ranks(4))
    told.passes(150)

    def slowed(gpu: Gpu, second: int) -> Gpu:
        gpu = late(2, pace=0.6)(gpu, second)
        held = {"sm_clock_mhz": 1100, "throttle_reasons": ["hw_slowdown"]}
        return structs.replace(gpu, **held) if gpu.index == 2 else gpu

    (finding,) = told.passes(45, slowed)
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([2], "hw_slowdown")


def test_a_narrow_link_is_told_where_nobody_counts_bytes() -> None:
    """Boards that have nothing but PCIe: a quarter of the lanes costs, and by how much is said to be a guess."""
    gpus = [
        structs.replace(gpu, nvlink=None, pcie=Pcie(gen=4, gen_max=4, width=4 if gpu.index == 1 else 16, width_max=16))
        for gpu in ranks(4, activity=False, counters=False)
    ]
    (finding,) = story(gpus).passes(60)
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "pcie_link")
    assert "guess" in str(finding.evidence["estimated_from"])
    alike = [structs.replace(gpu, pcie=gpus[1].pcie) for gpu in gpus]
    assert story(alike).passes(60) == []


def test_a_rank_whose_power_fell_alone_is_late_when_the_group_slowed_down() -> None:
    """Light work draws less than spinning: the late rank falls, its siblings do not; with the usual bytes nobody is."""

    def change(gpu: Gpu, share: float) -> Gpu:
        return structs.replace(with_bytes(gpu, share), power_w=480.0 if gpu.index == 2 else 540.0)

    told = story(ranks(5, activity=False))
    told.passes(180)
    (finding,) = told.passes(60, lambda gpu, _: change(gpu, 0.6))
    assert (finding.gpus, finding.evidence["told_by"]) == ([2], "fallen")
    as_ever = story(ranks(5, activity=False))
    as_ever.passes(180)
    assert as_ever.passes(60, lambda gpu, _: change(gpu, 1.0)) == []


def test_a_link_that_came_down_explains_work_that_fell_on_all_ranks() -> None:
    """Nobody counts bytes and NVLinks are there: that all work less since the PCIe link came down is what tells."""
    wide = Pcie(gen=4, gen_max=4, width=16, width_max=16)
    joined = NvLink(active=4, total=4)
    gpus = [structs.replace(gpu, nvlink=joined, pcie=wide) for gpu in ranks(2, activity=False, counters=False)]

    def came_down(gpu: Gpu, power_w: float) -> Gpu:
        return structs.replace(
            gpu, power_w=power_w, pcie=structs.replace(wide, gen=1 if gpu.index else 4), utilization_pct=100.0
        )

    told = story(gpus)
    told.passes(180)
    (finding,) = told.passes(60, lambda gpu, _: came_down(gpu, 430.0))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([1], "pcie_link")
    harmless = story(gpus)
    harmless.passes(180)
    assert harmless.passes(60, lambda gpu, _: came_down(gpu, 600.0)) == []


def test_a_few_points_of_activity_are_no_work_to_compare() -> None:
    """Two boards that hardly compute differ by a point or two of SM activity: half of what they do, and nothing."""
    gpus = [structs.replace(gpu, sm_activity_pct=15.0 - 2.5 * gpu.index, power_w=200.0) for gpu in ranks(2)]
    assert story(gpus).passes(90) == []


def test_a_board_without_a_bridge_is_no_fault() -> None:
    """Three boards, one bridge: the links of the third have never been up, and nobody waits for them."""
    gpus = [
        structs.replace(gpu, nvlink=NvLink(active=4 if gpu.index < 2 else 0, total=4, tx_bytes_per_s=2e10))
        for gpu in ranks(3)
    ]
    assert Story(gpus, [TpImbalanceDetector()]).passes(120) == []


def test_the_first_second_after_a_pause_is_no_evidence() -> None:
    """Sensors average another part of it each: one reads it full, the others have half of the pause in theirs."""

    def change(gpu: Gpu, second: int) -> Gpu:
        if second % 10 < 3:
            return structs.replace(gpu, utilization_pct=0.0, sm_activity_pct=0.0, power_w=120.0)
        if second % 10 == 3 and gpu.index != 1:
            return structs.replace(gpu, sm_activity_pct=20.0, power_w=300.0)
        return gpu

    told = story(ranks(4))
    for _ in range(20):
        assert told.passes(10, change) == []


def test_a_power_sensor_that_stands_still_makes_nobody_late() -> None:
    """The load falls and one sensor goes on showing what was: a gap, as long as its siblings' readings move."""

    def change(gpu: Gpu, second: int) -> Gpu:
        watts = 600.0 if second < 200 else 500.0
        moved = watts + 0.1 * (second * (gpu.index + 3) % 11)
        return structs.replace(gpu, power_w=600.0 if gpu.index == 0 and second >= 195 else moved)

    for count in (2, 4):
        told = story(ranks(count, activity=False))
        told.passes(200, change)
        for _ in range(8):
            assert told.passes(10, change) == []


def test_noisy_sensors_at_light_work_make_nobody_late() -> None:
    """Of so few points of SM activity the noise is a large part: two ranks that differ by no more are alike."""
    noise = Random(4)

    def change(gpu: Gpu, second: int) -> Gpu:
        share, points = (1.0, 30.0) if second <= 150 else (0.8, 25.0)
        return structs.replace(with_bytes(gpu, share), sm_activity_pct=points + noise.gauss(0.0, 2.0))

    told = story(ranks(2))
    for _ in range(40):
        assert told.passes(10, change) == []
