"""What a GPU is like when it works: its own job's past, and no fault's."""

import random

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.baseline import busy_baselines, job_age_s
from gpuwatch_agent.model.gpu import Gpu
from support.ranks import late, ranks, with_bytes, worker
from support.windows import START, Story


def test_an_earlier_jobs_past_is_no_yardstick() -> None:
    """Since the youngest of the group's processes started, and an hour where that is not known."""
    (gpu, _) = ranks(2)
    young = structs.replace(gpu, processes=[structs.replace(worker(0), started_at=START - 90)])
    assert job_age_s(young, START) == 90
    assert job_age_s(structs.replace(gpu, processes=None), START) == 3600

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, power_w=300.0 if second < 200 else 600.0)

    story = Story(ranks(2), [])
    story.passes(400, change)
    assert busy_baselines(story.history, ["GPU-0"], 190)["GPU-0"].power_w == 600.0


def test_yardsticks_of_a_group_are_of_the_same_seconds() -> None:
    """One rank is not read while the load is high: what is usual for it is not held lower or higher for that."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gone = gpu.index == 1 and 50 <= second < 90
        return structs.replace(gpu, power_w=None if gone else 600.0 if 50 <= second < 90 else 400.0)

    story = Story(ranks(4), [])
    story.passes(200, change)
    together = busy_baselines(story.history, [f"GPU-{index}" for index in range(4)])
    assert {one.power_w for one in together.values()} == {400.0}


def test_a_rank_that_is_hardly_read_does_not_undo_its_siblings_yardsticks() -> None:
    """It has none of its own then."""

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, power_w=None) if gpu.index == 2 and second % 10 else gpu

    story = Story(ranks(3), [])
    story.passes(200, change)
    together = busy_baselines(story.history, ["GPU-0", "GPU-1", "GPU-2"])
    assert [together[f"GPU-{index}"].power_w for index in range(3)] == [600.0, 600.0, None]


def test_while_a_group_limps_the_yardstick_stays() -> None:
    """The waiting ranks' low power must not become what is usual for them."""
    from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector

    story = Story(ranks(4, activity=False), [TpImbalanceDetector()])
    story.passes(180)
    story.passes(1200, late(2, pace=0.7))
    (finding,) = story.frame.findings
    assert finding.gpus == [2]
    assert float(finding.evidence["bytes_against_usual"] or 0) < 0.75


def test_a_fault_that_is_over_is_no_yardstick_either() -> None:
    """Nor for the hour after it: back at work as before, nobody is late against the time when one was."""
    from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector

    def starves(gpu: Gpu, second: int) -> Gpu:
        held = {"utilization_pct": 58.0, "power_w": 520.0} if gpu.index == 2 else {"power_w": 560.0}
        return structs.replace(gpu, **held)

    boards = ranks(4, activity=False)
    # Its silicon draws a little more than its siblings' at equal work.
    boards[2] = structs.replace(boards[2], power_w=630.0)
    story = Story(boards, [TpImbalanceDetector()])
    story.passes(120)
    assert [finding.gpus for finding in story.passes(900, starves)] == [[2]]
    story.passes(600)
    assert [event.event for event in story.engine.events] == ["raised", "cleared"]


def test_a_sensor_that_stood_still_is_no_yardstick() -> None:
    """It showed a burst's watts all through the minute that followed: its rank was not harder at work then."""

    def change(gpu: Gpu, second: int) -> Gpu:
        frozen = gpu.index == 1 and 40 <= second < 90
        demand = 650.0 if 40 <= second < 60 else 500.0
        moving = random.Random(f"{gpu.index}/{second}").uniform(-5.0, 5.0)
        return structs.replace(gpu, power_w=650.0 if frozen else demand + moving)

    story = Story(ranks(3), [])
    story.passes(200, change)
    together = busy_baselines(story.history, ["GPU-0", "GPU-1", "GPU-2"])
    assert together["GPU-1"].power_w == pytest.approx(together["GPU-0"].power_w, rel=0.01)


def test_ranks_whose_sensors_look_at_other_instants_have_the_same_yardstick() -> None:
    """Bursts of two seconds, which one sensor sees a second later: a quantile of each by itself fell between two levels."""

    def change(gpu: Gpu, second: int) -> Gpu:
        late_by = 0.6 if gpu.index == 1 else 0.0
        now, before = (650.0 if at % 9 < 2 else 450.0 for at in (second, second - 1))
        return structs.replace(gpu, power_w=now + (before - now) * late_by)

    story = Story(ranks(3), [])
    story.passes(160, change)
    together = busy_baselines(story.history, ["GPU-0", "GPU-1", "GPU-2"])
    assert together["GPU-1"].power_w == pytest.approx(together["GPU-0"].power_w, rel=0.01)


def test_a_burst_that_one_sensor_missed_is_no_difference_between_ranks() -> None:
    """The watching began in the middle of it: a mean over so few seconds would carry it for an hour."""

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, power_w=690.0 if second < 3 and gpu.index != 1 else 500.0)

    story = Story(ranks(3), [])
    story.passes(60, change)
    first = busy_baselines(story.history, ["GPU-0", "GPU-1", "GPU-2"], first=True)
    assert first["GPU-1"].power_w == pytest.approx(first["GPU-0"].power_w, rel=0.01)


def test_a_first_yardstick_comes_after_half_a_minute_of_work() -> None:
    """It leaves out less of the newest, and is had where the usual one is not."""
    story = Story(ranks(2), [])
    story.passes(60)
    assert busy_baselines(story.history, ["GPU-0", "GPU-1"]) == {}
    first = busy_baselines(story.history, ["GPU-0", "GPU-1"], first=True)
    assert [one.power_w for one in first.values()] == [600.0, 600.0]


def test_the_seconds_before_a_suspicion_are_no_yardstick() -> None:
    """A stranger came before there was a past, drew much and left: its watts are not what is usual for the rank."""
    from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector

    def shared(gpu: Gpu, second: int) -> Gpu:
        if second < 26:
            return gpu
        return structs.replace(gpu, power_w=695.0 if gpu.index == 3 else 595.0)

    def less(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(with_bytes(gpu, 0.7), power_w=560.0)

    story = Story(ranks(4, activity=False), [TpImbalanceDetector()])
    story.passes(170, shared)
    story.passes(300, less)
    assert [event.event for event in story.engine.events if event.event != "changed"] == ["raised", "cleared"]
