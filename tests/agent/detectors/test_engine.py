"""When a suspicion becomes a finding, and when a finding ends."""

from typing import ClassVar

from msgspec import structs

from gpuwatch_agent.config import Config, SamplingSection
from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.detectors.window import Window
from gpuwatch_agent.history import History
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from support.windows import START, Story, kinds

GPUS = [Gpu(index=index, uuid=f"GPU-{index}", temperature_c=50.0) for index in range(2)]


class Warm:
    """Says what is warmer than 80 degrees, critical above 90; certain above 100; fails on 1000."""

    kind: ClassVar[str] = "warm"
    settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    def detect(self, window: Window, settings: DetectorSettings, raised: frozenset[str]) -> list[Suspicion]:
        if any(view.gpu.temperature_c == 1000 for view in window.gpus):
            raise ZeroDivisionError
        return [
            Suspicion(
                key=view.uuid,
                severity="critical" if view.gpu.temperature_c > 90 else "warning",
                gpus=[view.index],
                summary="It is warm.",
                action="Open a window.",
                certain=view.gpu.temperature_c > 100,
            )
            for view in window.gpus
            if view.gpu.temperature_c is not None and view.gpu.temperature_c > (70 if view.uuid in raised else 80)
        ]


def at(degrees: float, *gpus: int):  # type: ignore[no-untyped-def]  # a change for Story
    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, temperature_c=degrees) if gpu.index in gpus else gpu

    return change


def test_a_suspicion_is_said_when_it_has_lasted() -> None:
    """Ten seconds by default: not before, and since the moment it began."""
    story = Story(GPUS, [Warm()])
    story.passes(5)
    assert story.passes(10, at(85, 1)) == []
    (finding,) = story.passes(1, at(85, 1))
    assert (finding.kind, finding.gpus, finding.since) == ("warm", [1], START + 5)
    assert finding.runbook == "docs/runbooks/warm.md"


def test_a_moment_is_not_said() -> None:
    """A spike that ends in time leaves nothing behind, and the clock starts afresh with the next."""
    story = Story(GPUS, [Warm()])
    for _ in range(5):
        assert story.passes(8, at(85, 0)) == []
        assert story.passes(8) == []


def test_a_suspicion_outlives_readings_that_drop_out() -> None:
    """One second in twenty without a reading delays what is said by no more than that, and does not lose it."""
    story = Story(GPUS, [Warm()], {"warm": {"raise_after_s": 300.0}})

    def drops(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, temperature_c=None if second % 20 == 7 else 85.0)

    assert story.passes(299, drops) == []
    assert len(story.passes(6, drops)) == 2


def test_what_flickers_is_not_said() -> None:
    """Seen for one second in five, or for every other, it is never said however long that goes on."""
    for every in (5, 2):
        story = Story(GPUS, [Warm()])

        def flickers(gpu: Gpu, second: int, every: int = every) -> Gpu:
            return structs.replace(gpu, temperature_c=85.0 if second % every == 0 else 50.0)

        for _ in range(40):
            assert story.passes(15, flickers) == []


def test_a_few_sightings_do_not_count_for_the_gaps_between_them() -> None:
    """Seen six seconds in all of eleven, it has not lasted ten."""
    story = Story(GPUS, [Warm()])
    story.passes(5, at(85, 0))
    story.passes(5)
    assert story.passes(2, at(85, 0)) == []


def test_how_long_a_suspicion_may_go_unseen_is_a_setting() -> None:
    """At 0 the first second without it starts its time afresh."""
    strict, lenient = (Story(GPUS, [Warm()], {"warm": {"unseen_s": seconds}}) for seconds in (0.0, 5.0))
    for story in (strict, lenient):
        story.passes(8, at(85, 0))
        story.passes(1)
    assert strict.passes(5, at(85, 0)) == []
    assert kinds(lenient.passes(5, at(85, 0))) == ["warm"]


def test_what_is_certain_is_said_at_once() -> None:
    """The driver's own verdict needs no second look."""
    assert kinds(Story(GPUS, [Warm()]).passes(1, at(120, 0))) == ["warm"]


def test_a_finding_stays_until_it_has_looked_right_for_a_while() -> None:
    """Thirty seconds by default, so that a flapping state is one finding and not a hundred."""
    story = Story(GPUS, [Warm()])
    story.passes(15, at(85, 0))
    assert kinds(story.passes(25)) == ["warm"]
    assert kinds(story.passes(3, at(85, 0))) == ["warm"]
    assert kinds(story.passes(29)) == ["warm"]
    assert story.passes(2) == []


def test_hysteresis_keeps_what_is_between_the_thresholds() -> None:
    """Raised above 80, it lasts down to 70; below, it ends."""
    story = Story(GPUS, [Warm()])
    story.passes(15, at(85, 0))
    assert kinds(story.passes(100, at(75, 0))) == ["warm"]
    assert story.passes(40, at(65, 0)) == []


def test_events_tell_the_whole_life_of_a_finding() -> None:
    """Raised, made worse, cleared: each once, with the time."""
    story = Story(GPUS, [Warm()])
    story.passes(12, at(85, 0))
    story.passes(3, at(95, 0))
    story.passes(35)
    assert [(event.event, event.finding.severity) for event in story.engine.events] == [
        ("raised", "warning"),
        ("changed", "critical"),
        ("cleared", "critical"),
    ]
    assert [event.at for event in story.engine.events] == [START + 10, START + 12, START + 44]


def test_a_severity_that_wavers_is_told_once() -> None:
    """Worse at once, better only after thirty seconds of it: no message for each step across the line."""
    story = Story(GPUS, [Warm()])
    story.passes(12, at(85, 0))
    for _ in range(5):
        story.passes(10, at(95, 0))
        (finding,) = story.passes(10, at(85, 0))
        assert finding.severity == "critical"
    (finding,) = story.passes(25, at(85, 0))
    assert finding.severity == "warning"
    assert [event.finding.severity for event in story.engine.events] == ["warning", "critical", "warning"]


class Culprit:
    """One finding of the whole group: names whoever is warmest, and why in words with a number."""

    kind: ClassVar[str] = "culprit"
    settings: ClassVar[type[DetectorSettings]] = DetectorSettings

    def detect(self, window: Window, settings: DetectorSettings, raised: frozenset[str]) -> list[Suspicion]:
        worst = max(window.gpus, key=lambda view: view.gpu.temperature_c or 0.0)
        why = "Its fan" if (worst.gpu.fan_pct or 0.0) < 50 else "The room"
        return [
            Suspicion(
                key="group",
                severity="warning",
                gpus=[worst.index],
                summary=f"{worst.label} is late.",
                cause=f"{why}, at {worst.gpu.temperature_c} °C.",
                action="Look.",
            )
        ]


def told_by(story: Story) -> list[tuple[str, list[int], str]]:
    return [(event.event, event.finding.gpus, str(event.finding.cause)) for event in story.engine.events]


def test_another_culprit_is_told_anew_once_it_lasts() -> None:
    """The finding is the same and its GPU is not: who was told would look at the wrong board."""
    story = Story(GPUS, [Culprit()])
    story.passes(15, at(85, 0))
    (finding,) = story.passes(29, at(85, 1))
    assert finding.gpus == [0], "who was named stays named until the other has been worse for long"
    assert len(story.engine.events) == 1
    (finding,) = story.passes(2, at(85, 1))
    assert finding.gpus == [1]
    assert told_by(story) == [("raised", [0], "Its fan, at 85 °C."), ("changed", [1], "Its fan, at 85 °C.")]


def test_another_cause_is_told_and_another_number_is_not() -> None:
    """Degrees move all the time; whether it is the fan or the room decides what is done."""
    story = Story(GPUS, [Culprit()])
    story.passes(15, at(85, 0))
    story.passes(30, at(86.5, 0))
    assert len(story.engine.events) == 1
    story.passes(30, lambda gpu, second: structs.replace(at(87, 0)(gpu, second), fan_pct=90.0))
    assert [cause for _, _, cause in told_by(story)] == ["Its fan, at 85 °C.", "The room, at 87 °C."]


def test_a_culprit_that_wavers_is_not_told_each_time() -> None:
    """Two GPUs that take turns every few seconds are one finding, not a message for each turn."""
    story = Story(GPUS, [Culprit()])
    story.passes(15, at(85, 0))
    for turn in range(20):
        (finding,) = story.passes(6, at(85, turn % 2))
        assert finding.gpus == [0]
    assert len(story.engine.events) == 1


def test_seconds_against_one_gpu_do_not_count_against_another() -> None:
    """Two short suspicions of two GPUs are neither of them long enough, though there was one all the time."""
    story = Story(GPUS, [Culprit()])
    assert story.passes(9, at(85, 0)) == []
    assert story.passes(9, at(85, 1)) == []
    (finding,) = story.passes(12, at(85, 1))
    assert finding.gpus == [1]


def test_looks_that_are_meant_to_be_far_apart_are_no_gaps() -> None:
    """An agent that samples once a minute judges once a minute: what looks wrong each time has lasted."""
    sampling = structs.replace(SamplingSection(), interval_s=60.0)
    engine = Engine(structs.replace(Config(), sampling=sampling), History(), detectors=[Warm()])
    frame = Frame(node="n", taken_at=START, simulated=True, gpus=[at(85, 0)(gpu, 0) for gpu in GPUS])
    assert engine.judge(frame, 0.0).findings == []
    assert kinds(engine.judge(frame, 60.0).findings) == ["warm"]
    engine = Engine(structs.replace(Config(), sampling=sampling), History(), detectors=[Warm()])
    engine.judge(frame, 0.0)
    assert engine.judge(frame, 180.0).findings == []


def test_the_worst_is_told_first() -> None:
    """Critical before warning, then the older."""
    story = Story(GPUS, [Warm()])
    story.passes(12, at(85, 0))

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, temperature_c=85.0 if gpu.index == 0 else 95.0)

    assert [finding.gpus for finding in story.passes(12, change)] == [[1], [0]]


def test_a_kind_can_be_switched_off_and_tuned() -> None:
    """By configuration, each kind for itself."""
    assert Story(GPUS, [Warm()], {"warm": {"enabled": False}}).passes(60, at(85, 0)) == []
    assert kinds(Story(GPUS, [Warm()], {"warm": {"raise_after_s": 0.0}}).passes(1, at(85, 0))) == ["warm"]


def test_a_detector_that_fails_is_named_and_takes_nothing_down() -> None:
    """Its own fault: the others go on, and the agent's account says which it was."""
    story = Story(GPUS, [Warm()])
    story.passes(15, at(85, 1))
    frame = structs.replace(story.frame, gpus=[structs.replace(GPUS[0], temperature_c=1000.0)])
    assert kinds(story.engine.judge(frame, 16.0).findings) == ["warm"]
    assert story.engine.errors == {"warm": "ZeroDivisionError: "}


def test_a_gap_in_the_frames_starts_suspicions_afresh() -> None:
    """Nobody knows what was while nobody looked: two looks ten minutes apart are no ten minutes of suspicion."""
    story = Story(GPUS, [Warm()])
    story.passes(5, at(85, 0))
    story.silence(600)
    assert story.passes(5, at(85, 0)) == []
    assert kinds(story.passes(6, at(85, 0))) == ["warm"]


def test_frames_within_a_second_carry_the_findings_of_the_last_look() -> None:
    """At ten frames a second the detectors look once, and every frame says what they said."""
    story = Story(GPUS, [Warm()])
    story.passes(12, at(85, 0))
    again = story.engine.judge(structs.replace(story.frame, findings=[]), 11.1)
    assert kinds(again.findings) == ["warm"]
