"""Heat that holds the clocks down: told in time, rated by what it costs, with where the heat comes from."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.thermal_throttle import ThermalThrottleDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu
from support.simulated_story import story_of
from support.warm_gpus import are, held, hot, working
from support.windows import START, Change, Story

HOT = hot(89.0, sm_clock_mhz=1065)
BOTH = "sw_thermal hw_slowdown hw_thermal"


def group(*gpus: Gpu) -> Story:
    return Story(gpus or [working(index) for index in range(8)], [ThermalThrottleDetector()])


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_hot_rank_is_told_within_fifteen_seconds() -> None:
    """One GPU at its limit with half its clock: critical, the culprit named, with degrees, clocks and who waits."""
    story = group()
    assert story.passes(30) == []
    change = held(BOTH, 5, since=30, **HOT)
    assert story.passes(10, change) == []
    finding = only(story.passes(5, change))
    assert (finding.severity, finding.gpus) == ("critical", [5])
    assert finding.summary == (
        "GPU 5 is slowed down by heat (89 °C, clocks fall from 87): 1,065 of 1,980 MHz, up to 46 % slower; "
        "the other 7 GPUs of its group wait for it."
    )
    assert finding.cause == "It alone is hot, the other 7 are at 60 °C: its own airflow or heat sink."
    assert finding.evidence["temperature_c"] == 89.0
    assert finding.evidence["usual_known_from"] == "its siblings"


@pytest.mark.parametrize(
    ("clock", "reasons", "severity"),
    [
        (1900, "sw_thermal", "info"),
        (1700, "sw_thermal", "warning"),
        (1400, "sw_thermal", "critical"),
        (1900, "sw_thermal hw_thermal", "warning"),
    ],
)
def test_severity_is_what_it_costs(clock: int, reasons: str, severity: str) -> None:
    """A few percent are worth a note, a quarter of the clock is work lost; the hardware's own brake is never a note."""
    finding = only(group().passes(15, held(reasons, 2, **hot(88.0, sm_clock_mhz=clock))))
    assert finding.severity == severity


def test_near_shutdown_is_critical_whatever_it_costs() -> None:
    """Three degrees before the board switches itself off nobody should sleep."""
    assert only(group().passes(15, held("sw_thermal", 2, **hot(92.0)))).severity == "critical"


def test_the_cost_is_no_more_than_the_time_it_lasts() -> None:
    """Held for a fifth of the time, clocks that are low for other reasons too are not all put down to heat."""
    finding = only(group().passes(15, held("sw_thermal", 2, share=0.2, **hot(87.0, sm_clock_mhz=1000))))
    assert finding.evidence["clock_loss_pct"] == pytest.approx(20, abs=0.5)


def test_its_own_past_is_the_yardstick() -> None:
    """A GeForce never reaches the clock of its data sheet: what it did in the hour before is what counts."""
    gpu = working(0, sm_clock_max_mhz=3105, sm_clock_mhz=2730, processes=[])
    story = group(gpu)
    story.passes(200)
    finding = only(story.passes(20, held("sw_thermal", 0, since=200, **hot(87.0, sm_clock_mhz=2600))))
    assert (finding.severity, finding.evidence["usual_sm_clock_mhz"]) == ("info", 2730)
    assert finding.evidence["usual_known_from"] == "its own past hour"


def test_a_past_full_of_heat_is_no_yardstick() -> None:
    """Throttled since the agent began, a GPU alone is held against its data sheet, not against its own misery."""
    story = group(working(0, processes=[]))
    finding = only(story.passes(200, held("sw_thermal", 0, **hot(88.0, sm_clock_mhz=990))))
    assert (finding.severity, finding.evidence["usual_sm_clock_mhz"]) == ("critical", 1980)


@pytest.mark.parametrize(
    "change",
    [
        held("sw_power_cap", 5, sm_clock_mhz=1500),
        held("hw_power_brake", 5, sm_clock_mhz=990),
        held("idle", 5, utilization_pct=0.0, sm_clock_mhz=345),
        held("sw_thermal", 5, share=0.03),
        are(5, **hot(89.0)),
        are(5, sm_clock_mhz=1000),
    ],
    ids=["power cap", "power brake", "idle", "a trace of heat", "hot, unthrottled", "slow, cool"],
)
def test_what_only_looks_like_it_is_not_told(change: Change) -> None:
    """Lifetime totals, other reasons, low clocks and mere warmth are no thermal throttling."""
    assert group().passes(60, change) == []


def test_power_capping_counted_as_heat_is_not_told() -> None:
    """Some boards run both counters at once: a cool GPU at its power cap is not hot."""
    assert group().passes(60, held("sw_power_cap sw_thermal", 5, sm_clock_mhz=1600)) == []


def test_a_moment_of_heat_is_not_told() -> None:
    """Two seconds now and then stay below what a person should hear of."""

    def change(gpu: Gpu, second: int) -> Gpu:
        ran = sum(min(2, max(0, second - start + 1)) for start in (10, 50, 90))
        counters = gpu.throttle_seconds or {}
        return structs.replace(gpu, throttle_seconds=counters | {"sw_thermal": counters["sw_thermal"] + ran})

    story = group()
    for _ in range(26):
        assert story.passes(5, change) == []


def test_it_stays_while_it_flickers_and_ends_a_minute_after() -> None:
    """Once said, a lower share keeps it; without any it ends."""
    story = group()
    story.passes(15, held("sw_thermal", 2, **hot(88.0, sm_clock_mhz=1700)))
    total = {**(story.gpus[2].throttle_seconds or {}), "sw_thermal": 7030.0}
    story.gpus[2] = structs.replace(story.gpus[2], throttle_seconds=total)
    assert only(story.passes(120, held("sw_thermal", 2, since=15, share=0.03, **hot(86.0)))).severity == "info"
    story.gpus[2] = structs.replace(story.gpus[2], throttle_seconds={**total, "sw_thermal": 7034.0})
    assert len(story.passes(55)) == 1
    assert story.passes(20) == []


def test_boards_without_counters_are_judged_by_the_reasons() -> None:
    """A V100 says only that it is so now; that and its temperature is enough."""
    old = [working(index, throttle_seconds=None, temperature_margin_c=None) for index in range(8)]
    finding = only(group(*old).passes(15, held("sw_thermal", 3, temperature_c=86.0, sm_clock_mhz=915)))
    assert (finding.severity, finding.gpus, finding.evidence["throttled_pct"]) == ("critical", [3], None)
    assert group(*old).passes(30, held("sw_thermal", 3, temperature_c=50.0)) == []


def test_boards_without_the_finer_reasons_are_judged_by_their_limit() -> None:
    """Slowed by hardware at its slowdown temperature: that is heat, whatever the driver calls it."""
    old = [working(index, throttle_seconds=None, temperature_margin_c=None) for index in range(2)]
    finding = only(group(*old).passes(15, held("hw_slowdown", 1, temperature_c=90.0, sm_clock_mhz=900)))
    assert finding.evidence["by_hardware"] == "yes"


def test_a_node_that_is_hot_as_a_whole_is_one_finding() -> None:
    """Eight hot GPUs are no eight bad heat sinks: one finding names them all and the node's air, as soon as one would be told."""
    story = group()
    change = held("sw_thermal", *range(8), **hot(88.0, sm_clock_mhz=1700))
    assert story.passes(10, change) == []
    finding = only(story.passes(5, change))
    assert (finding.severity, finding.gpus, finding.key) == ("warning", list(range(8)), "node")
    assert finding.summary == (
        "GPUs 0 to 7 are slowed down by heat at once (88 °C): at worst 1,700 of 1,980 MHz, up to 14 % slower."
    )
    assert finding.cause == (
        "All 8 GPUs of the node together: the air comes in too warm, or too little of it (intake, fans, room)."
    )
    assert "chassis fans" in finding.action
    assert finding.since == pytest.approx(START, abs=1.0)
    assert only(story.passes(200, change)).since == finding.since


def test_who_is_far_worse_off_than_a_hot_node_has_a_finding_of_its_own() -> None:
    """Seven are a seventh slower, one by half; one more has a fan that stands still."""
    all_hot = held("sw_thermal", *range(8), **hot(88.0, sm_clock_mhz=1700))

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = all_hot(gpu, second)
        if gpu.index == 3:
            return structs.replace(gpu, sm_clock_mhz=990)
        return structs.replace(gpu, fans_pct=[0, 80]) if gpu.index == 6 else gpu

    findings = {tuple(one.gpus): one for one in group().passes(20, change)}
    assert set(findings) == {(0, 1, 2, 4, 5, 7), (3,), (6,)}
    assert findings[3,].severity == "critical"
    assert findings[3,].cause is not None
    assert "far worse off" in findings[3,].cause
    assert findings[6,].cause == "A fan of the board stands still."
    assert str(findings[0, 1, 2, 4, 5, 7].cause).startswith("6 of 8 GPUs of the node together")


@pytest.mark.parametrize("hit", [(0, 1), (0, 1, 2), (0, 1, 2, 3)])
def test_half_of_a_node_is_not_the_node(hit: tuple[int, ...]) -> None:
    """Each is told for itself."""
    findings = group().passes(20, held("sw_thermal", *hit, **hot(88.0, sm_clock_mhz=1700)))
    assert sorted(one.gpus[0] for one in findings) == list(hit)
    assert all(len(one.gpus) == 1 for one in findings)


def test_two_gpus_are_no_node_to_speak_of() -> None:
    """Neighbours warm each other: both are told, each with its slot."""
    findings = group(working(0), working(1)).passes(20, held("sw_thermal", 0, 1, **hot(88.0)))
    assert [one.gpus for one in findings] == [[0], [1]]


def test_a_node_that_warms_up_gpu_by_gpu_becomes_one_finding() -> None:
    """The first are told by themselves; once most are hot their findings give way to that of the node."""
    story = group()

    def warming(gpu: Gpu, second: int) -> Gpu:
        return held("sw_thermal", gpu.index, since=20 * gpu.index, **hot(88.0, sm_clock_mhz=1700))(gpu, second)

    assert [one.gpus for one in story.passes(35, warming)] == [[0], [1]]
    story.passes(185, warming)
    assert only(story.frame.findings).gpus == list(range(8))


def test_a_twitch_of_the_others_does_not_make_it_the_nodes() -> None:
    """One is hot for long, the others for three seconds as it is told."""
    lasting = held("sw_thermal", 5, **HOT)
    twitching = held("sw_thermal", *range(8), since=8, **hot(88.0, sm_clock_mhz=1700))
    finding = only(group().passes(12, lambda gpu, s: lasting(gpu, s) if gpu.index == 5 else twitching(gpu, s)))
    assert finding.gpus == [5]


def test_a_node_that_cools_down_gpu_by_gpu_stays_one_finding_until_few_are_left() -> None:
    """Three of eight are still the node's; the last is told by itself, and none is told twice in the end."""
    story = group()
    story.passes(20, held("sw_thermal", *range(8), **hot(88.0)))
    story.gpus = [
        structs.replace(gpu, throttle_seconds={**(gpu.throttle_seconds or {}), "sw_thermal": 7035.0})
        for gpu in story.gpus
    ]
    assert only(story.passes(90, held("sw_thermal", 0, 1, 2, since=20, **hot(88.0)))).gpus == [0, 1, 2]
    story.gpus = [
        structs.replace(gpu, throttle_seconds={**(gpu.throttle_seconds or {}), "sw_thermal": 7135.0})
        for gpu in story.gpus
    ]
    assert only(story.passes(90, held("sw_thermal", 2, since=110, **hot(88.0)))).key == "GPU-2"


def test_the_memory_is_named_when_the_core_is_cool() -> None:
    """The core far from its limit, the memory hot: thermal pads, not the heat sink."""
    finding = only(
        group().passes(15, held("hw_thermal", 1, temperature_c=60.0, memory_temperature_c=104.0, sm_clock_mhz=1500))
    )
    assert finding.cause == "Not the core, at 60 of 87 °C: the memory, at 104 °C, is the likely part."


def test_idle_siblings_are_no_proof_of_a_bad_slot() -> None:
    """A GPU that works alone is the warmest because it works."""
    idle = [working(index, power_w=70.0, temperature_c=40.0, utilization_pct=0.0) for index in range(1, 4)]
    finding = only(group(working(0), *idle).passes(15, held("sw_thermal", 0, **HOT)))
    assert finding.cause == "It is at its own temperature limit."


def test_stale_and_absent_readings_give_no_evidence() -> None:
    """A GPU that does not answer, and one that tells neither counters nor reasons, are not judged."""
    stale = held(BOTH, 5, state="stale", **HOT)
    assert group().passes(60, stale) == []
    blind = are(5, throttle_seconds=None, throttle_reasons=None, temperature_c=None, temperature_margin_c=None)
    assert group().passes(60, blind) == []


def test_counters_that_restart_invent_nothing() -> None:
    """A driver reload puts the counters back; a jump ahead is no time that passed."""

    def change(gpu: Gpu, second: int) -> Gpu:
        total = 7015.0 if second < 20 else 0.2
        return structs.replace(gpu, throttle_seconds={"sw_thermal": total, "hw_thermal": total})

    assert group().passes(60, change) == []


def test_a_gpu_that_joins_brings_no_past() -> None:
    """Its first counter value is no growth, however long its life was."""
    story = group(working(0))
    story.passes(20)
    story.gpus.append(working(1))
    assert story.passes(60) == []


def test_a_gap_does_not_make_heat_of_silence() -> None:
    """Counters that grew while nobody looked are not judged by the seconds after."""
    story = group()
    story.passes(20)
    story.silence(120)
    story.gpus = [structs.replace(gpu, throttle_seconds={"sw_thermal": 7100.0}) for gpu in story.gpus]
    assert story.passes(60) == []


@pytest.mark.parametrize(("machine", "gpu"), [("dgx-h100-8", 5), ("dgx-v100-8", 3), ("4x3090-bridged", 1), ("l4", 0)])
def test_a_blocked_slot_of_a_simulated_machine_is_found(machine: str, gpu: int) -> None:
    """With and without counters, with margins and degrees, in a group and alone: that GPU and no other."""
    run = story_of(f"{machine}+hot@{gpu}=0.7~20", 120, [ThermalThrottleDetector()])
    finding = only(run.findings)
    assert finding.gpus == [gpu]
    assert finding.severity in {"warning", "critical"}
