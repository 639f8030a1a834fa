"""A whole node read in the test's process: what a slow, lost or vanished GPU does to its row and to the others."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from fake_nvml.fixtures import FakeNode
from fake_nvml.scenario import Scenario
from gpuwatch_agent.config import Config, SamplingSection
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.sampling.rig import Rig
from support.reading import SettableClock

ALL = tuple(Tier)


@contextmanager
def reading(
    sampling: SamplingSection | None = None,
    clock: Callable[[], float] | None = None,
    wall_clock: Callable[[], float] | None = None,
) -> Iterator[Rig]:
    """A rig on the fake driver."""
    config = msgspec.structs.replace(Config(), sampling=sampling or SamplingSection())
    clock = clock or SettableClock()
    rig = Rig(NvmlHardware(), config, clock=clock, wall_clock=wall_clock or clock)
    rig.open()
    try:
        yield rig
    finally:
        rig.close()


def until(rig: Rig, fits: Callable[[Frame], bool]) -> Frame:
    """Read until it fits; the driver is looked through for GPUs beside the readings."""
    for _ in range(500):
        frame = rig.read(ALL)
        if fits(frame):
            return frame
    raise AssertionError("it never came")


def nvlink_rate(gpu: Gpu) -> float | None:
    return gpu.nvlink.tx_bytes_per_s if gpu.nvlink is not None else None


def test_a_rate_after_a_slow_call_is_no_higher_than_the_link_was_busy(nvml_here: FakeNode) -> None:
    """Counters that come late count the bytes of the wait, too: they belong to when they came, not when asked for."""
    nvml_here.become(Scenario.of("h100", 1))
    with reading(SamplingSection(deadline_s=5.0), time.monotonic) as rig:
        rig.read(ALL)
        quiet = nvlink_rate(until(rig, lambda frame: nvlink_rate(frame.gpus[0]) is not None).gpus[0])
        counted_at = time.monotonic()
        while time.monotonic() < counted_at + 0.1:
            rig.read((Tier.SLOW,))  # the next reading of the counters is one of its own
        nvml_here.scenario.delay("nvmlDeviceGetFieldValues", 400, gpu=0, times=1).save()
        late = nvlink_rate(rig.read((Tier.FAST,)).gpus[0])
        assert quiet is not None
        assert late is not None
        assert 0.5 * quiet < late < 2 * quiet


def test_a_gpu_that_left_the_list_keeps_its_last_values(nvml_here: FakeNode) -> None:
    """Lost, with what was read last and its age, not an empty row."""
    nvml_here.become(Scenario.of("h100", 2))
    clock = SettableClock()
    with reading(clock=clock) as rig:
        before = rig.read(ALL).gpus[1]
        nvml_here.scenario.remove(1).save()
        clock.now += 20
        lost = until(rig, lambda frame: frame.gpus[-1].state == "lost").gpus[-1]
        assert before.power_w is not None
        assert (lost.uuid, lost.power_w, lost.age_s) == (before.uuid, before.power_w, 20.0)
        assert lost.processes is None


def test_a_lost_gpu_costs_the_others_nothing_of_their_placement(nvml_here: FakeNode) -> None:
    """Asking how a healthy GPU is joined to a lost one fails as if the healthy one were lost: it is not asked."""
    with reading() as rig:
        rig.read(ALL)
        nvml_here.scenario.lose(3).save()
        rig.read(ALL)
        found = rig.placements()
        assert sorted(found) == [0, 1, 2, 4, 5, 6, 7]
        assert sorted(found[0].ancestors or {}) == [1, 2, 4, 5, 6, 7]


def test_a_wall_clock_put_back_disturbs_neither_order_nor_rates_nor_ages(nvml_here: FakeNode) -> None:
    """An hour back between two samples: history goes on in order, rates stay, nothing turns stale."""
    nvml_here.become(Scenario.of("h100", 1))
    wall = SettableClock(1.7e9)
    history, ledger = History(seconds=60), Ledger(time.monotonic, wall)
    with reading(clock=time.monotonic, wall_clock=wall) as rig:
        frames = [ledger.complete(rig.read(ALL))]
        wall.now -= 3600
        frames.append(
            ledger.complete(until(rig, lambda frame: nvlink_rate(frame.gpus[0]) is not None)),
        )
    for second, frame in enumerate(frames):
        history.append(frame, 100.0 + second)
    assert frames[1].taken_at == 1.7e9 - 3600
    assert (frames[1].gpus[0].state, frames[1].gpus[0].problem) == ("ok", None)
    assert 0 <= (frames[1].gpus[0].age_s or 0) < 5
    answer = history.query(["power_w"])
    assert answer.taken_at == [1.7e9, 1.7e9 - 3600]
    assert answer.series[0].values == [round(frame.gpus[0].power_w or 0, 3) for frame in frames]


def test_a_host_that_hangs_is_unknown_and_processes_keep_what_the_driver_says(nvml_here: FakeNode) -> None:
    """/proc of one process in the kernel's hands blocks its reader: old host numbers must not pass for new ones."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).processes.clear()
    scenario.gpu(0).process(2**22 + 17, 5 << 30, 50)
    nvml_here.become(scenario)
    clock, gate = SettableClock(), threading.Event()
    with reading(clock=clock) as rig:
        assert rig.read(ALL).host is not None
        read_host = rig._host_reader.read

        def hang(*, rates: bool = True) -> Host:
            gate.wait(20)
            return read_host(rates=rates)

        rig._host_reader.read = hang  # type: ignore[method-assign]  # what the kernel does to it
        assert rig.read(ALL).host is not None
        clock.now += 30
        frame = rig.read(ALL)
        assert frame.host is None
        assert [(one.pid, one.memory_bytes, one.visible) for one in frame.gpus[0].processes or ()] == [
            (2**22 + 17, 5 << 30, False)
        ]
        assert frame.gpus[0].state == "ok"
        gate.set()
        until(rig, lambda frame: frame.host is not None)


def test_a_gpu_that_could_not_be_opened_at_first_leaves_no_ghost(nvml_here: FakeNode) -> None:
    """Lost when we came, well again later: one row, and it is ok."""
    nvml_here.become(Scenario.of("h100", 2))
    nvml_here.scenario.lose(1).save()
    clock = SettableClock()
    with reading(clock=clock) as rig:
        assert [gpu.state for gpu in rig.read(ALL).gpus] == ["ok", "lost"]
        assert rig.stuck_for() >= 0
        clock.now += 20
        assert rig.stuck_for() >= 20
        nvml_here.scenario.heal(gpu=1).save()
        frame = until(rig, lambda frame: frame.gpus[1].state == "ok")
        assert [gpu.state for gpu in frame.gpus] == ["ok", "ok"]
        until(rig, lambda _: rig.stuck_for() == 0)
