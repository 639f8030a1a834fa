"""The hardware power brake: rare, grave, and told apart from everything else that holds clocks down."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.power_brake import PowerBrakeDetector
from gpuwatch_agent.model.host import Host
from support.simulated_story import story_of
from support.warm_gpus import are, held, working
from support.windows import Change, Story


def node() -> Story:
    return Story([working(index) for index in range(8)], [PowerBrakeDetector()])


def test_a_pulled_brake_is_critical_within_ten_seconds() -> None:
    """The GPU, what it lost, who waits, and that it is its own supply."""
    (finding,) = node().passes(10, held("hw_slowdown hw_power_brake", 2, sm_clock_mhz=990))
    assert (finding.severity, finding.gpus) == ("critical", [2])
    assert finding.summary == (
        "GPU 2 is braked by the power supply (hardware power brake): 990 of 1,980 MHz, up to 50 % slower; "
        "the other 7 GPUs of its group wait for it."
    )
    assert finding.cause == "Only this GPU is braked: its own power cable, connector or slot."


def test_all_braked_together_is_the_servers_supply() -> None:
    """One finding names them all, for what they share is the cause; as soon as one alone would be told."""
    (finding,) = node().passes(10, held("hw_power_brake", *range(8), sm_clock_mhz=990))
    assert (finding.severity, finding.gpus, finding.key) == ("critical", list(range(8)), "node")
    assert finding.summary == (
        "GPUs 0 to 7 are braked by the power supply at once (hardware power brake): at worst 990 of 1,980 MHz, up to "
        "50 % slower."
    )
    assert finding.cause == (
        "All 8 GPUs of the node together: a supply that failed or lost its feed, or the power limit of server or rack."
    )
    assert finding.evidence["gpus_braked"] == 8


def test_some_braked_together_are_told_each() -> None:
    """Half of the node hangs on one supply, perhaps: the cause says how many they are."""
    findings = node().passes(10, held("hw_power_brake", 0, 1, 2, 3, sm_clock_mhz=990))
    assert [finding.gpus for finding in findings] == [[0], [1], [2], [3]]
    assert str(findings[0].cause).startswith("4 of 8 GPUs are braked together")


def test_nothing_is_said_of_the_node_before_it_has_booted() -> None:
    """The grace after the start holds for what most GPUs have as well."""
    gpus = [working(index) for index in range(4)]
    story = Story(gpus, [PowerBrakeDetector()], {"power_brake": {"boot_grace_s": 300.0}})
    story.frame = structs.replace(story.frame, host=Host(uptime_s=60.0))
    assert story.passes(60, held("hw_power_brake", *range(4))) == []
    story.frame = structs.replace(story.frame, host=Host(uptime_s=400.0))
    (finding,) = story.passes(10, held("hw_power_brake", *range(4)))
    assert finding.gpus == [0, 1, 2, 3]


def test_short_pulls_that_come_again_are_a_warning() -> None:
    """A twentieth of the time is not much work lost, and still not normal."""
    (finding,) = node().passes(15, held("hw_power_brake", 2, share=0.05))
    assert finding.severity == "warning"
    assert finding.summary.startswith("GPU 2 was braked for 5% of the last seconds")


@pytest.mark.parametrize(
    "change",
    [
        held("sw_power_cap hw_slowdown", 2, sm_clock_mhz=990),
        held("sw_thermal hw_thermal hw_slowdown", 2, sm_clock_mhz=990),
        held("hw_power_brake", 2, share=0.001),
        are(2, throttle_seconds=None, throttle_reasons=None),
        held("hw_power_brake", 2, state="stale"),
    ],
    ids=["power cap", "heat", "a trace", "unknown", "stale"],
)
def test_what_only_looks_like_it_is_not_told(change: Change) -> None:
    """Other reasons, lifetime totals and GPUs that tell nothing."""
    assert node().passes(60, change) == []


def test_boards_without_the_counter_are_judged_by_the_reason() -> None:
    """Seen at every look for some seconds."""
    story = Story([working(0, throttle_seconds=None)], [PowerBrakeDetector()])
    (finding,) = story.passes(10, held("hw_power_brake", 0))
    assert finding.severity == "critical"


def test_it_ends_a_minute_after_the_brake_is_let_go() -> None:
    """Not at once: a supply at its limit pulls again."""
    story = node()
    story.passes(10, held("hw_power_brake", 2))
    story.gpus[2] = working(2, throttle_seconds={"hw_power_brake": 7025.0})
    assert len(story.passes(50)) == 1
    assert story.passes(30) == []


def test_a_simulated_brake_is_found() -> None:
    """That GPU, critical, seconds after it began."""
    run = story_of("dgx-h100-8+power-brake@2~20", 40, [PowerBrakeDetector()])
    assert [(one.severity, one.gpus) for one in run.findings] == [("critical", [2])]
    assert (run.raised_after_s("power_brake") or 99) <= 35
