"""A stranger's program comes before what is guessed of the host, and both kinds of findings name it alike."""

from typing import Any

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.noisy_neighbour import NoisyNeighbourDetector, NoisyNeighbourSettings
from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from support.ranks import GIB, late, ranks
from support.windows import Change, Story, kinds

BOTH: list[Detector[Any]] = [TpImbalanceDetector(), NoisyNeighbourDetector()]


def intruder(culprit: int, change: Change, **more: object) -> Change:
    """A small program on one GPU, of which the driver does not tell how much it takes."""
    fields: dict[str, object] = {"pid": 4711, "user": "mallory", "name": "mine.py", "command": "mine.py"}
    one = Process(**{**fields, "memory_bytes": GIB, "kind": "compute", **more})  # type: ignore[arg-type]  # fields by name

    def changed(gpu: Gpu, second: int) -> Gpu:
        gpu = change(gpu, second)
        return structs.replace(gpu, processes=[*(gpu.processes or []), one]) if gpu.index == culprit else gpu

    return changed


def sleeping_while_waiting(culprit: int) -> Change:
    """Ranks that block instead of spinning: only the shared GPU reads busy all the time."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(culprit, pace=0.75)(gpu, second)
        return gpu if gpu.index == culprit else structs.replace(gpu, utilization_pct=70.0)

    return change


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize("sm_pct", [30.0, None])
def test_the_rank_beside_a_stranger_is_late_and_not_its_innocent_sibling(activity: bool, sm_pct: float | None) -> None:
    """Of two ranks the one without the stranger reads 70 %: it waits, its host is not slow."""
    told = Story(ranks(2, activity=activity), BOTH)
    assert told.passes(180) == []
    findings = told.passes(45, intruder(1, sleeping_while_waiting(1), sm_pct=sm_pct))
    assert sorted(kinds(findings)) == ["noisy_neighbour", "tp_imbalance"]
    assert {tuple(one.gpus) for one in findings} == {(1,)}
    assert not any("host" in one.summary for one in findings)


def pausing(change: Change) -> Change:
    """The same with a pause of 30 s in each minute, in which a GPU without work lowers its clock."""

    def changed(gpu: Gpu, second: int) -> Gpu:
        gpu = change(gpu, second)
        if second % 60 < 30:
            return gpu
        if gpu.index == 0:
            return structs.replace(gpu, utilization_pct=0.0, sm_clock_mhz=345, power_w=90.0)
        return structs.replace(gpu, utilization_pct=70.0)

    return changed


def test_a_strangers_work_in_the_groups_pauses_is_no_work_of_the_group() -> None:
    """The GPU beside the stranger's rests with low clocks when there is nothing to do: it holds nobody back."""
    told = Story(ranks(2), [TpImbalanceDetector()])
    told.passes(180)
    change = pausing(intruder(1, late(1, pace=0.75), sm_pct=30.0))
    findings = [one for _ in range(60) for one in told.passes(4, change)]
    assert {tuple(one.gpus) for one in findings} == {(1,)}


def test_strangers_on_half_of_the_ranks_are_no_yardstick_either() -> None:
    """Two of four GPUs are shared by different programs and read 100 %: the other two are not slow for that."""
    first = intruder(0, sleeping_while_waiting(0), name="a.py", command="a.py", sm_pct=30.0)
    told = Story(ranks(4), [TpImbalanceDetector()])
    told.passes(180)

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = intruder(1, first, sm_pct=30.0)(gpu, second)
        return structs.replace(gpu, utilization_pct=100.0) if gpu.index == 1 else gpu

    assert not any("host" in one.summary for one in told.passes(45, change))


def test_a_stranger_on_a_rank_that_runs_out_of_work_is_named_before_its_host() -> None:
    """What can be seen comes before what can only be guessed."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(3, pace=0.7)(gpu, second)
        return structs.replace(gpu, utilization_pct=70.0, power_w=420.0) if gpu.index == 3 else gpu

    told = Story(ranks(4), [TpImbalanceDetector()])
    told.passes(180)
    (finding,) = told.passes(45, intruder(3, change, sm_pct=40.0))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([3], "noisy_neighbour")


def test_a_slow_host_is_still_found_beside_a_stranger_elsewhere() -> None:
    """The stranger's rank is no yardstick, the spinning ones are."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = late(3, pace=0.6)(gpu, second)
        return structs.replace(gpu, utilization_pct=60.0, power_w=420.0) if gpu.index == 3 else gpu

    told = Story(ranks(5), [TpImbalanceDetector()])
    told.passes(180)
    (finding,) = told.passes(45, intruder(0, change, sm_pct=4.0))
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([3], "slow_host")


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize(("pace", "severity"), [(0.75, "warning"), (0.92, "info")])
def test_whom_the_imbalance_blames_the_neighbour_finding_names_too(pace: float, severity: str, activity: bool) -> None:
    """Neither its SMs nor much memory are known; what the group loses is."""
    told = Story(ranks(8, activity=activity), BOTH)
    told.passes(180)
    findings = told.passes(45, intruder(2, late(2, pace=pace)))
    assert sorted(kinds(findings)) == ["noisy_neighbour", "tp_imbalance"]
    neighbour = next(one for one in findings if one.kind == "noisy_neighbour")
    imbalance = next(one for one in findings if one.kind == "tp_imbalance")
    assert (neighbour.gpus, neighbour.severity) == ([2], severity)
    assert neighbour.evidence["pace_estimated"] == imbalance.evidence["pace_estimated"]
    assert "PID 4711 of user mallory" in neighbour.summary
    assert "of its pace" in neighbour.summary


def test_a_small_stranger_that_costs_nothing_is_left_in_peace() -> None:
    """The group keeps its pace, so nobody has to hear of it; nor of one on another GPU than the late one."""
    told = Story(ranks(8), BOTH)
    told.passes(180)
    assert told.passes(60, intruder(2, lambda gpu, _: gpu)) == []
    assert kinds(told.passes(60, intruder(2, late(5)))) == ["tp_imbalance"]


@pytest.mark.parametrize("activity", [True, False])
def test_a_stranger_is_said_to_take_no_more_than_turns(activity: bool) -> None:
    """Power and activity of both are taken for the rank's own: at most half of the pace is put down to it."""
    told = Story(ranks(4, activity=activity), BOTH)
    told.passes(180)

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(late(2, pace=0.2)(gpu, second), power_w=660.0 if gpu.index == 2 else 285.0)

    findings = told.passes(45, intruder(2, change))
    assert sorted(kinds(findings)) == ["noisy_neighbour", "tp_imbalance"]
    assert {one.evidence["pace_estimated"] for one in findings} == {0.5}


def test_thresholds_that_contradict_each_other_are_named() -> None:
    """A remark can't need more than a warning."""
    assert NoisyNeighbourSettings().contradictions() == []
    wrong = NoisyNeighbourSettings(info_sm_pct=20.0, info_loss_pct=30.0).contradictions()
    assert wrong == [
        "info_sm_pct (20) is above warning_sm_pct (10)",
        "info_loss_pct (30) is above warning_loss_pct (10)",
    ]
