"""Fans that stand still: on boards that have some, while they are needed."""

import pytest

from gpuwatch_agent.detectors.fan_failure import FanFailureDetector
from support.simulated_story import story_of
from support.warm_gpus import are, held, hot, working
from support.windows import Change, Story


def node() -> Story:
    return Story(
        [working(index, name="NVIDIA GeForce RTX 4090", fans_pct=[65.0, 65.0], fan_pct=65.0) for index in range(2)],
        [FanFailureDetector()],
    )


def test_one_dead_fan_of_two_is_a_warning() -> None:
    """The other makes up for it, with noise: look today."""
    (finding,) = node().passes(30, are(1, fans_pct=[0.0, 90.0], temperature_c=74.0))
    assert (finding.severity, finding.gpus) == ("warning", [1])
    assert finding.summary == "GPU 1: fan 0 of its 2 stands still at 74 °C (fans read 0, 90 %)."


def test_one_dead_fan_at_the_limit_is_critical() -> None:
    """Where the other can't make up for it the board slows down."""
    (finding,) = node().passes(30, held("sw_thermal", 1, fans_pct=[0.0, 100.0], **hot(88.0)))
    assert finding.severity == "critical"


def test_all_fans_still_on_a_hot_board_is_critical() -> None:
    """Nothing cools it: stop the load."""
    (finding,) = node().passes(30, are(1, fans_pct=[0.0, 0.0], fan_pct=0.0, temperature_c=75.0))
    assert finding.severity == "critical"
    assert finding.summary.startswith("GPU 1: all its 2 fans stand still at 75 °C")
    assert finding.action.startswith("Stop the load now")


def test_a_fan_far_behind_the_others_is_a_note() -> None:
    """It may be set by hand: worth a look, not a night."""
    (finding,) = node().passes(30, are(1, fans_pct=[25.0, 90.0], temperature_c=74.0))
    assert (finding.severity, finding.evidence["failed_fans"]) == ("info", "0")


@pytest.mark.parametrize(
    "change",
    [
        are(1, fans_pct=[0.0, 0.0], fan_pct=0.0, temperature_c=48.0, utilization_pct=0.0),
        are(1, fans_pct=[0.0, 0.0], fan_pct=0.0, temperature_c=58.0),
        are(1, fans_pct=[0.0, 30.0], temperature_c=52.0),
        are(1, fans_pct=[0.0, 45.0], temperature_c=45.0, utilization_pct=0.0),
        are(1, fans_pct=[60.0, 75.0], temperature_c=74.0),
        are(1, fans_pct=None, fan_pct=None, temperature_c=85.0),
        are(1, fans_pct=[], temperature_c=85.0),
        are(1, fans_pct=[None, None], temperature_c=85.0),
        are(1, fans_pct=[0.0, 0.0], temperature_c=None),
        are(1, fans_pct=[0.0, 90.0], state="stale"),
    ],
    ids=[
        *("quiet mode", "quiet mode at light work", "one rests", "one rests when idle", "unequal by design"),
        *("no fans", "empty", "unreadable", "no temperature", "stale"),
    ],
)
def test_what_is_normal_or_unknown_is_not_told(change: Change) -> None:
    """Zero-fan mode of a cool board, boards without fans, and readings that are not there."""
    assert node().passes(60, change) == []


def test_fans_that_start_late_are_not_told() -> None:
    """A load that comes up heats the board for some seconds before the fans are up to speed."""
    story = node()
    assert story.passes(15, are(1, fans_pct=[0.0, 0.0], temperature_c=71.0)) == []
    assert story.passes(60) == []


def test_it_stays_while_the_board_cools_a_little() -> None:
    """Raised at 70 °C, all fans still at 66 is no recovery; fans that turn are."""
    story = node()
    story.passes(40, are(1, fans_pct=[0.0, 0.0], temperature_c=75.0))
    assert len(story.passes(90, are(1, fans_pct=[0.0, 0.0], temperature_c=66.0))) == 1
    assert story.passes(40) == []


@pytest.mark.parametrize(("fans", "severity"), [(1, "warning"), (2, "critical")])
def test_simulated_dead_fans_are_found(fans: int, severity: str) -> None:
    """One of two, and both."""
    run = story_of(f"2x4090+fan-dead@0={fans}", 60, [FanFailureDetector()])
    assert [(one.severity, one.gpus) for one in run.findings] == [(severity, [0])]
