"""All detectors on frames that are not as they should be: nothing is invented, and nothing that is so gets lost."""

import random
from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest
from msgspec import structs

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from support.simulated_story import Disturb, SimulatedStory

_SECONDS = 240
_WHO_IT_IS = frozenset({"index", "uuid", "name", "state", "absent", "pci_bus_id"})


def with_gaps() -> Disturb:
    """Every third frame is missing, and once there is none for forty seconds."""
    chance = random.Random(1)
    return lambda frame, second: None if chance.random() < 0.33 or 120 <= second < 160 else frame


def with_holes() -> Disturb:
    """In every frame each GPU lacks a sixth of its readings, others each time."""
    chance = random.Random(2)

    def disturb(frame: Frame, _: int) -> Frame:
        return each_gpu(frame, lambda gpu: without(gpu, [name for name in READINGS if chance.random() < 1 / 6]))

    return disturb


def with_few_readings() -> Disturb:
    """An old driver that tells little: no activity, no link counters, no throttle times, no limits, ever."""
    missing = [name for name in READINGS if name not in {"utilization_pct", "memory_used_bytes", "temperature_c"}]
    return lambda frame, _: each_gpu(frame, lambda gpu: without(gpu, missing))


def one_comes_late_and_one_leaves_for_a_while() -> Disturb:
    """GPU 2 joins after a minute, GPU 1 is away for a minute and comes back."""

    def disturb(frame: Frame, second: int) -> Frame:
        away = {2} if second < 60 else {1} if 120 <= second < 180 else set()
        return structs.replace(frame, gpus=[gpu for gpu in frame.gpus if gpu.index not in away])

    return disturb


def counters_start_again() -> Disturb:
    """Two minutes in the driver is loaded anew: all that was counted begins at nothing."""
    before: dict[str, Gpu] = {}

    def disturb(frame: Frame, second: int) -> Frame:
        if second == 120:
            before.update({gpu.uuid: gpu for gpu in frame.gpus})
        return each_gpu(frame, lambda gpu: counted_from(gpu, before[gpu.uuid]) if before else gpu)

    return disturb


def counters_are_narrow() -> Disturb:
    """They wrap again and again, as counters of a few bits do."""
    return lambda frame, _: each_gpu(frame, narrow)


def the_clock_jumps() -> Disturb:
    """The wall clock is a day ahead after a minute, and an hour behind after two."""

    def disturb(frame: Frame, second: int) -> Frame:
        off = 0.0 if second < 60 else 86400.0 if second < 120 else -3600.0
        return structs.replace(frame, taken_at=frame.taken_at + off)

    return disturb


def nothing() -> Disturb:
    """As it should be."""
    return lambda frame, _: frame


READINGS = [name for name in Gpu.__struct_fields__ if name not in _WHO_IT_IS]


def each_gpu(frame: Frame, change: Callable[[Gpu], Gpu]) -> Frame:
    return structs.replace(frame, gpus=[change(gpu) for gpu in frame.gpus])


def without(gpu: Gpu, names: list[str]) -> Gpu:
    defaults = dict(zip(Gpu.__struct_fields__[-len(Gpu.__struct_defaults__) :], Gpu.__struct_defaults__, strict=True))
    return structs.replace(gpu, **{name: None for name in names if defaults.get(name, ...) is None})


def counted_from(gpu: Gpu, start: Gpu) -> Gpu:
    return recounted(gpu, lambda now, then: now - then, start)


def narrow(gpu: Gpu) -> Gpu:
    return recounted(gpu, lambda now, _: now % 97, gpu)


def recounted(gpu: Gpu, count: Callable[[float, float], float], start: Gpu) -> Gpu:
    """Every counter as `count` makes it of its value and its value at the start."""
    return structs.replace(
        gpu,
        energy_j=count(gpu.energy_j or 0.0, start.energy_j or 0.0),
        throttle_seconds=mapped(gpu.throttle_seconds, start.throttle_seconds, count),
        pcie=gpu.pcie
        and structs.replace(
            gpu.pcie,
            replays=int(count(gpu.pcie.replays or 0, (start.pcie and start.pcie.replays) or 0)),
            errors=mapped(gpu.pcie.errors, start.pcie.errors if start.pcie else None, count),
        ),
        ecc=gpu.ecc
        and structs.replace(
            gpu.ecc, corrected=int(count(gpu.ecc.corrected or 0, (start.ecc and start.ecc.corrected) or 0))
        ),
        nvlink=gpu.nvlink
        and structs.replace(
            gpu.nvlink,
            links=[
                structs.replace(port, errors=mapped(port.errors, once.errors, count))
                for port, once in zip(gpu.nvlink.links or [], (start.nvlink and start.nvlink.links) or [], strict=True)
            ],
        ),
    )


Number = TypeVar("Number", int, float)


def mapped(
    now: Mapping[str, Number] | None, then: Mapping[str, Number] | None, count: Callable[[float, float], float]
) -> dict[str, Number] | None:
    if now is None:
        return None
    return {name: type(value)(count(value, (then or {}).get(name, 0))) for name, value in now.items()}


KINDS_OF_BAD = [
    nothing,
    with_gaps,
    with_holes,
    with_few_readings,
    one_comes_late_and_one_leaves_for_a_while,
    counters_start_again,
    counters_are_narrow,
    the_clock_jumps,
]


@pytest.mark.parametrize("bad", KINDS_OF_BAD, ids=lambda bad: bad.__name__)
@pytest.mark.parametrize("machine", ["dgx-h100-8", "4x3090-bridged"])
def test_bad_input_is_no_finding(machine: str, bad: Callable[[], Disturb]) -> None:
    """On a healthy machine only what is so is said: that a GPU has left, and that narrow slots are narrow."""
    with SimulatedStory(machine, disturb=bad()) as story:
        story.passes(_SECONDS)
    said = {(event.finding.kind, event.finding.severity) for event in story.events}
    expected = {("pcie_degraded", "info")} if machine == "4x3090-bridged" else set()
    if bad is one_comes_late_and_one_leaves_for_a_while:
        expected.add(("gpu_lost", "critical"))
        assert ("gpu_lost", "critical") in said
    assert said <= expected


@pytest.mark.parametrize("bad", KINDS_OF_BAD, ids=lambda bad: bad.__name__)
def test_a_fault_is_found_all_the_same(bad: Callable[[], Disturb]) -> None:
    """A GPU that throttles is said, once, and stays said; who tells too little to know it is silent about it."""
    with SimulatedStory("dgx-h100-8+hot@3", disturb=bad()) as story:
        story.passes(_SECONDS)
    of_heat = [event for event in story.events if event.finding.kind == "thermal_throttle"]
    if bad is with_few_readings:
        assert of_heat == []
        return
    assert [event.event for event in of_heat if event.event != "changed"] == ["raised"]
    assert of_heat[-1].finding.gpus == [3]
    assert (story.raised_after_s("thermal_throttle") or 999) <= 45


def test_declared_groups_with_unknown_gpus_name_nobody() -> None:
    """A group may be declared for GPUs that are not there, or not any more: the others are judged, and no error."""
    groups = {"half": [0, 1, 2, 3, 42], "nobody": [77, 78]}
    with SimulatedStory("dgx-h100-8", groups=groups) as story:
        assert story.passes(_SECONDS) == []
    with SimulatedStory("dgx-h100-8+slow-rank@2", groups=groups) as story:
        found = story.passes(_SECONDS)
    assert ("tp_imbalance", [2]) in [(one.kind, one.gpus) for one in found]
    assert {index for one in found for index in one.gpus} <= set(range(8))
