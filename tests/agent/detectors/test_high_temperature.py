"""Close to the limit and not there yet: by each board's own limit, and silent where throttling is told."""

import pytest

from gpuwatch_agent.detectors.high_temperature import HighTemperatureDetector
from gpuwatch_agent.detectors.thermal_throttle import ThermalThrottleDetector
from support.simulated_story import story_of
from support.warm_gpus import are, held, hot, working
from support.windows import Change, Story, kinds


def node(**different: object) -> Story:
    return Story([working(index, **different) for index in range(8)], [HighTemperatureDetector()])


def test_close_to_its_margin_for_a_while_is_a_warning() -> None:
    """Three degrees left for over a minute: told, with the number against its limit and where the heat comes from."""
    story = node()
    story.passes(30)
    assert story.passes(60, are(3, **hot(84.0))) == []
    (finding,) = story.passes(40, are(3, **hot(84.0)))
    assert (finding.severity, finding.gpus) == ("warning", [3])
    assert finding.summary == "GPU 3 is close to slowing down: 84 °C, 3 °C below its limit of 87."
    assert finding.cause == "It alone is hot, the other 7 are at 60 °C: its own airflow or heat sink."


def test_boards_that_speak_of_degrees_are_judged_by_their_slowdown_temperature() -> None:
    """86 of 89 °C is close; 86 of 95 is not."""
    assert len(node(temperature_margin_c=None).passes(90, are(3, temperature_c=86.0))) == 1
    cooler = node(temperature_margin_c=None, temperature_slowdown_c=95.0)
    assert cooler.passes(90, are(3, temperature_c=86.0)) == []


@pytest.mark.parametrize(
    "change",
    [
        are(3, **hot(80.0)),
        are(3, temperature_c=92.0, temperature_margin_c=None, temperature_slowdown_c=None),
        are(3, temperature_c=None, temperature_margin_c=None),
        are(3, **hot(86.0, state="stale")),
        held("sw_thermal", 3, **hot(86.0)),
    ],
    ids=["warm", "no limit known", "no temperature", "stale", "throttled"],
)
def test_what_is_not_close_or_not_known_is_not_told(change: Change) -> None:
    """No board is judged by another's limit, and none that throttling is told of already."""
    assert node().passes(180, change) == []


def test_a_spike_is_not_told() -> None:
    """Half a minute at the limit in a burst of prefill is what limits are for."""
    story = node()
    for _ in range(4):
        assert story.passes(30, are(3, **hot(85.0))) == []
        assert story.passes(60) == []


def test_it_stays_until_there_is_room_again() -> None:
    """Raised at five degrees, it lasts while fewer than eight are left."""
    story = node()
    story.passes(100, are(3, **hot(84.0)))
    assert len(story.passes(180, are(3, **hot(80.0)))) == 1
    assert story.passes(120, are(3, **hot(75.0))) == []


def test_a_board_with_fans_in_reserve_helps_itself() -> None:
    """Consumer boards hold their target temperature by design: a note while fans can still turn faster."""
    (finding,) = node(fan_pct=60.0).passes(100, are(3, **hot(84.0)))
    assert (finding.severity, finding.summary[-26:]) == ("info", "87; its fans turn at 60 %.")
    (flat_out,) = node(fan_pct=98.0).passes(100, are(3, **hot(84.0)))
    assert flat_out.severity == "warning"
    assert (flat_out.cause or "").startswith("Its fans are told to turn at 98 % and it is this hot all the same")


def test_near_shutdown_is_critical() -> None:
    """A board that goes on at full clocks two degrees before it switches itself off."""
    (finding,) = node().passes(100, are(3, **hot(93.0)))
    assert finding.severity == "critical"


def test_a_simulated_machine_close_to_its_limit_is_told_once() -> None:
    """Close to the limit is one kind of finding, throttled another, never both of one GPU."""
    run = story_of("dgx-h100-8+hot@3=0.28", 200, [ThermalThrottleDetector(), HighTemperatureDetector()])
    assert kinds(run.findings) == ["high_temperature"]
    hotter = story_of("dgx-h100-8+hot@3=0.6", 150, [ThermalThrottleDetector(), HighTemperatureDetector()])
    assert kinds(hotter.findings) == ["thermal_throttle"]
