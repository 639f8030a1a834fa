"""A process that samples by itself finds what the agent would: `status --watch` and `check`."""

import itertools

import pytest

from gpuwatch_agent.config import Config, HardwareSection, SamplingSection
from gpuwatch_agent.hardware.choose import make_hardware
from gpuwatch_agent.hardware.simulated.passing_time import PassingTime
from gpuwatch_agent.model.errors import DriverNotLoadedError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.oneshot import Watcher

NOON = 1_795_176_000.0


def watched(machine: str, seconds: int, *, events: bool = True) -> list[Frame]:
    """The frames of so many seconds on a simulated machine, whose time passes at once."""
    config = Config(hardware=HardwareSection(simulate=machine, events=events))
    clock = PassingTime(NOON)
    hardware = make_hardware(config, simulation_clock=clock)
    watcher = Watcher(hardware, config, clock=clock, wall_clock=clock, pause=clock.wait)
    try:
        return [watcher.next_frame() for _ in range(seconds)]
    finally:
        watcher.close()


def test_frames_come_at_their_beat() -> None:
    """The first at once, then one every interval."""
    assert [frame.taken_at - NOON for frame in watched("l4", 4)] == [0, 1, 2, 3]


def test_a_watcher_judges() -> None:
    """A GPU that goes while somebody watches is a finding soon after, since the moment it went."""
    frames = watched("dgx-h100-8+lost@3~5", 12)
    assert [frame.findings for frame in frames[:5]] == [[]] * 5
    (finding,) = [one for one in frames[-1].findings if one.kind == "gpu_lost"]
    assert finding.gpus == [3]
    assert finding.since - NOON == pytest.approx(5, abs=1)


def test_xids_are_counted_unless_that_is_switched_off() -> None:
    """An Xid within the watch stands in its GPU's row."""
    last = watched("dgx-h100-8+xid@2=79~3", 8)[-1]
    assert [(xid.code, xid.count) for xid in last.gpus[2].xids or ()][:1] == [(79, 1)]
    assert watched("dgx-h100-8+xid@2=79~3", 8, events=False)[-1].gpus[2].xids is None


def test_frames_far_apart_are_judged_in_between() -> None:
    """Somebody looks once a minute: what went wrong meanwhile is found by then, for the reading goes on at its own pace."""
    config = Config(hardware=HardwareSection(simulate="dgx-h100-8+hot@3~5"))
    clock = PassingTime(NOON)
    watcher = Watcher(
        make_hardware(config, simulation_clock=clock), config, clock=clock, wall_clock=clock, pause=clock.wait
    )
    try:
        frames = list(itertools.islice(watcher.frames(60.0), 4))
    finally:
        watcher.close()
    assert [frame.taken_at - NOON for frame in frames] == [0, 60, 120, 180]
    assert [frame.findings for frame in frames[:1]] == [[]]
    assert "thermal_throttle" in [one.kind for one in frames[-1].findings]


def test_what_was_seen_last_is_judged_where_the_driver_went() -> None:
    """Rows as old as they are, with the finding that names them all and says why."""
    config = Config(hardware=HardwareSection(simulate="dgx-h100-8+driver-gone~3"))
    clock = PassingTime(NOON)
    watcher = Watcher(
        make_hardware(config, simulation_clock=clock), config, clock=clock, wall_clock=clock, pause=clock.wait
    )
    try:
        for _ in range(3):
            watcher.next_frame()
        for _ in range(4):
            with pytest.raises(DriverNotLoadedError) as gone:
                watcher.next_frame()
            frame = watcher.frame_without_driver(gone.value)
    finally:
        watcher.close()
    assert {gpu.state for gpu in frame.gpus} == {"stale"}
    (finding,) = frame.findings
    assert (finding.kind, finding.gpus) == ("gpu_lost", list(range(8)))


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 10.0, 60.0])
def test_however_seldom_an_agent_reads_what_lasts_is_found(interval_s: float) -> None:
    """Readings that are meant to be far apart are no gaps: heat that holds a clock down for minutes is said."""
    config = Config(
        hardware=HardwareSection(simulate="dgx-h100-8+hot@3"), sampling=SamplingSection(interval_s=interval_s)
    )
    clock = PassingTime(NOON)
    watcher = Watcher(
        make_hardware(config, simulation_clock=clock), config, clock=clock, wall_clock=clock, pause=clock.wait
    )
    try:
        frames = [watcher.next_frame() for _ in range(int(120 / interval_s) + 2)]
    finally:
        watcher.close()
    assert "thermal_throttle" in [one.kind for one in frames[-1].findings]
