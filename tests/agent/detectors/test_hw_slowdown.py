"""Hardware slowdown without a reason: told only where neither heat nor the power brake tells it already."""

import pytest

from gpuwatch_agent.detectors.hw_slowdown import HwSlowdownDetector
from support.simulated_story import story_of
from support.warm_gpus import are, held, hot, working
from support.windows import Change, Story


def node() -> Story:
    return Story([working(index) for index in range(8)], [HwSlowdownDetector()])


def test_the_generic_bit_alone_is_told_by_what_it_costs() -> None:
    """Half the clock gone and no reason given: critical; a little: a warning."""
    (finding,) = node().passes(10, held("hw_slowdown", 4, sm_clock_mhz=990))
    assert (finding.severity, finding.gpus) == ("critical", [4])
    assert finding.summary.startswith(
        "GPU 4 is slowed down by its own hardware, neither for heat nor by the power brake: 990 of 1,980 MHz"
    )
    assert [one.severity for one in node().passes(10, held("hw_slowdown", 4, sm_clock_mhz=1950))] == ["warning"]


def test_an_idle_board_loses_nothing_yet() -> None:
    """Worth knowing before work is put on it, and no reason to wake anybody."""
    (finding,) = node().passes(10, held("hw_slowdown", 4, utilization_pct=0.0, sm_clock_mhz=345))
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "change",
    [
        held("hw_slowdown hw_thermal", 4),
        held("hw_slowdown sw_thermal", 4, **hot(88.0)),
        held("hw_slowdown hw_power_brake", 4),
        held("sw_power_cap", 4),
        held("hw_slowdown", 4, state="stale"),
        are(4, throttle_reasons=None),
    ],
    ids=["hardware heat", "heat", "brake", "power cap", "stale", "unknown"],
)
def test_what_is_explained_or_unknown_is_not_told(change: Change) -> None:
    """Their own findings speak; a GPU that tells nothing is not accused."""
    assert node().passes(60, change) == []


def test_heat_of_old_boards_is_left_to_its_own_finding() -> None:
    """The bit at the slowdown temperature is heat."""
    old = working(0, throttle_seconds=None, temperature_margin_c=None)
    story = Story([old], [HwSlowdownDetector()])
    assert story.passes(60, held("hw_slowdown", 0, temperature_c=90.0)) == []


def test_a_blink_at_a_change_of_clocks_is_not_told() -> None:
    """The driver shows the bit for a moment while it changes the performance state."""
    story = node()
    for _ in range(5):
        assert story.passes(2, are(4, throttle_reasons=["hw_slowdown"])) == []
        assert story.passes(5) == []


@pytest.mark.parametrize("fault", ["hot@3", "power-brake@3"])
def test_simulated_heat_and_brake_are_not_told_twice(fault: str) -> None:
    """Both set the generic bit, and both have a finding of their own."""
    assert story_of(f"dgx-h100-8+{fault}", 60, [HwSlowdownDetector()]).events == []
