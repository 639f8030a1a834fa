"""The power limit: silent while it is what the board was made with, told where it was lowered or hits one alone."""

from typing import Any

import pytest

from gpuwatch_agent.detectors.power_throttle import PowerThrottleDetector
from support.simulated_story import story_of
from support.warm_gpus import are, held, working
from support.windows import Change, Story

LOW: dict[str, Any] = {"power_limit_w": 420.0, "power_w": 420.0, "sm_clock_mhz": 1200}
EVERYBODY = tuple(range(8))


def node() -> Story:
    return Story([working(index) for index in range(8)], [PowerThrottleDetector()])


def test_one_lowered_limit_is_a_warning_within_fifteen_seconds() -> None:
    """The limit, the default, what the others have, what it costs and who waits."""
    story = node()
    story.passes(20)
    (finding,) = story.passes(15, held("sw_power_cap", 3, since=20, **LOW))
    assert (finding.severity, finding.gpus) == ("warning", [3])
    assert finding.summary == (
        "GPU 3 is held down by a power limit of 420 W (default 700 W, the others have 700 W): 1,200 of 1,980 MHz, "
        "up to 39 % slower; the other 7 GPUs of its group wait for it."
    )
    assert finding.cause == "The power limit was lowered here, and not on the others."
    assert "nvidia-smi -i 3 -pl 700" in finding.action


def test_a_lowered_limit_that_costs_little_is_a_note() -> None:
    """Ninety percent of the watts cost a few percent of the clock."""
    (finding,) = node().passes(15, held("sw_power_cap", 3, power_limit_w=630.0, sm_clock_mhz=1900))
    assert finding.severity == "info"


def test_everybodys_lowered_limit_is_one_note() -> None:
    """Somebody chose it for the machine: one finding for all, and no yardstick to call it a loss."""
    (finding,) = node().passes(60, held("sw_power_cap", *EVERYBODY, **LOW))
    assert (finding.severity, finding.gpus) == ("info", list(EVERYBODY))
    assert finding.summary == "8 GPUs are held down by a power limit of 420 W (default 700 W)."
    assert finding.cause == "Somebody lowered the power limit of all GPUs of this model."


def test_everybodys_limit_lowered_today_is_a_warning() -> None:
    """Against the hour before it is a loss that somebody may not have meant."""
    story = node()
    story.passes(300)
    (finding,) = story.passes(15, held("sw_power_cap", *EVERYBODY, since=300, **LOW))
    assert (finding.severity, finding.evidence["usual_known_from"]) == ("warning", "its own past hour")


def test_limits_read_one_after_the_other_are_one_finding() -> None:
    """Limits are read seconds apart: what was lowered together is raised once."""
    story = node()
    for second in range(8):
        story.passes(2, held("sw_power_cap", *range(second + 1), **LOW))
    (finding,) = story.passes(10, held("sw_power_cap", *EVERYBODY, **LOW))
    assert finding.gpus == list(EVERYBODY)
    assert [event.event for event in story.engine.events if event.event != "changed"] == ["raised"]


@pytest.mark.parametrize(
    "change",
    [
        held("sw_power_cap", *EVERYBODY, power_w=700.0, sm_clock_mhz=1700),
        held("sw_power_cap", 3, power_w=700.0, sm_clock_mhz=1850),
        are(3, power_limit_w=420.0, power_w=300.0),
        held("sw_power_cap", 3, share=0.02, **LOW),
        held("sw_power_cap idle", 3, utilization_pct=0.0, **LOW),
        held("sw_power_cap", 3, state="stale", **LOW),
        held("sw_power_cap", 3, power_limit_default_w=None, **LOW),
        are(3, power_limit_w=None, throttle_seconds=None, throttle_reasons=None),
    ],
    ids=[
        *("all at their cap", "one at its cap", "lowered and never reached", "hardly reached", "idle", "stale"),
        *("default unknown", "unknown"),
    ],
)
def test_what_is_normal_or_unknown_is_not_told(change: Change) -> None:
    """A busy GPU at its default limit is at work, and a limit that is not reached costs nothing."""
    assert node().passes(90, change) == []


def test_one_that_gets_less_out_of_equal_watts_is_a_note() -> None:
    """The same limit, the same watts, fewer megahertz than its group: hotter, as a rule."""
    change = held("sw_power_cap", 3, power_w=700.0, sm_clock_mhz=1600, temperature_c=75.0)
    story = Story([working(index, power_w=680.0) for index in range(8)], [PowerThrottleDetector()])
    assert story.passes(60, change) == []
    (finding,) = story.passes(20, change)
    assert (finding.severity, finding.gpus) == ("info", [3])
    assert finding.summary.startswith(
        "GPU 3 gets less out of its 700 W than its group: 1,600 MHz, the others 1,980 MHz"
    )
    assert finding.cause == ("It is hotter (75 °C, the others 60 °C), and a hot chip needs more watts for a clock.")


def test_one_that_works_more_is_not_called_worse() -> None:
    """Ranks that wait draw less and clock higher; that is the group's trouble, not the power limit's."""
    story = Story([working(index, power_w=400.0) for index in range(8)], [PowerThrottleDetector()])
    assert story.passes(120, held("sw_power_cap", 3, power_w=700.0, sm_clock_mhz=1600)) == []


def test_it_ends_when_the_limit_is_back() -> None:
    """A minute after the default is restored."""
    story = node()
    story.passes(20, held("sw_power_cap", 3, **LOW))
    story.gpus[3] = working(3, throttle_seconds={"sw_power_cap": 7035.0})
    assert len(story.passes(50)) == 1
    assert story.passes(30) == []


def test_a_board_without_counters_is_judged_by_the_reason() -> None:
    """Held at every look, under a lowered limit; alone, it has only its past to compare with."""
    story = Story([working(0, throttle_seconds=None)], [PowerThrottleDetector()])
    (finding,) = story.passes(10, held("sw_power_cap", 0, **LOW))
    assert (finding.severity, finding.cause) == ("info", "Somebody lowered its power limit.")


def test_a_simulated_lowered_limit_is_found() -> None:
    """That GPU, as a warning, within fifteen seconds, though limits are read every ten."""
    run = story_of("dgx-h100-8+power-cap@3~20", 60, [PowerThrottleDetector()])
    assert [(one.severity, one.gpus) for one in run.findings] == [("warning", [3])]
    assert (run.raised_after_s("power_throttle") or 99) <= 35
