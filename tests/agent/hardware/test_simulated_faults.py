import threading
from collections.abc import Callable

import pytest

from gpuwatch_agent.hardware.base import Device, RawReading, Tier, XidEvent
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.errors import (
    DeviceError,
    DriverMismatchError,
    DriverNotLoadedError,
    DriverUnavailableError,
    GpuLostError,
    GpuNeedsResetError,
    LibraryMissingError,
)

READINGS = [
    *("identity", "activity", "codecs", "memory", "bar1", "power", "thermals", "limits", "fans", "clocks", "throttle"),
    *("profile", "pcie_traffic", "pcie_link", "pcie_health", "nvlink_traffic", "nvlinks", "memory_health", "modes"),
    *("mig", "processes"),
]


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(spec: str, seed: int = 0) -> tuple[SimulatedHardware, Clock]:
    clock = Clock()
    hardware = SimulatedHardware(spec, clock=clock, seed=seed)
    hardware.open()
    return hardware, clock


def everything(device: Device) -> dict[str, RawReading]:
    return {name: getattr(device, name)() for name in READINGS}


def value_of(reading: float | None) -> float:
    assert reading is not None
    return reading


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ("pcie-narrow", {"pcie_link"}),
        ("pcie-slow", {"pcie_link"}),
        ("pcie-errors", {"pcie_health"}),
        ("nvlink-errors", {"nvlinks"}),
        ("fabric-error", {"modes"}),
        ("xid=13", set()),
        ("ecc", {"memory_health"}),
        ("ecc-storm", {"memory_health"}),
        ("row-remap", {"memory_health", "modes"}),
        ("row-remap-failed", {"memory_health"}),
        ("memory-imbalance", {"memory", "processes"}),
        ("no-permission", {"profile"}),
        ("slow=0.001", set()),
    ],
)
def test_a_fault_changes_what_it_says_and_nothing_else(fault: str, changed: set[str]) -> None:
    """Beside the healthy machine of the same seed, only the named readings of the one GPU differ."""
    name, _, strength = fault.partition("=")
    healthy, clock = opened("dgx-h100-8")
    broken, broken_clock = opened(f"dgx-h100-8+{name}@3" + (f"={strength}" if strength else ""))
    clock.now += 60.0
    broken_clock.now += 60.0

    for gpu, (good, bad) in enumerate(zip(healthy.devices(), broken.devices(), strict=True)):
        before, after = everything(good), everything(bad)
        assert {name for name in READINGS if before[name] != after[name]} == (changed if gpu == 3 else set())


def test_a_fault_begins_and_ends_as_told() -> None:
    """Before its start and after its end all is as ever; without a start it has been there all along."""
    hardware, clock = opened("4x3090-bridged+pcie-narrow@2=1~30-90")
    widths = []
    for moment in (0.0, 29.9, 30.0, 89.9, 90.0):
        clock.now = 1_750_000_000.0 + moment
        widths.append(hardware.devices()[2].pcie_link().width)

    assert widths == [8, 8, 1, 1, 8]
    assert opened("4x3090-bridged+pcie-narrow@2=1")[0].devices()[2].pcie_link().width == 1


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("l4+pcie-errors=4", lambda device: device.pcie_health().replays),
        ("l4+ecc-storm=40", lambda device: device.memory_health().ecc.corrected_volatile),
        ("dgx-v100-8+nvlink-errors=25", lambda device: device.nvlinks().links[2].errors["crc_flit"]),
    ],
)
def test_errors_climb_at_the_rate_told(spec: str, count: Callable[[Device], int]) -> None:
    """The counter rises by the strength every second, and stays where it is when the fault ends."""
    hardware, clock = opened(spec + "~0-50")
    rate = float(spec.split("=")[1])
    device = hardware.devices()[0]
    before = count(device)
    clock.now += 20.0
    assert count(device) - before == pytest.approx(20 * rate, abs=1)
    clock.now += 1_000.0
    assert count(device) - before == pytest.approx(50 * rate, abs=1)


def test_a_direct_link_is_down_at_both_ends() -> None:
    """On a bridge the neighbour sees its end down too; a switch leaves the other GPUs as they were."""

    def down(spec: str) -> list[int]:
        found = []
        for device in opened(spec)[0].devices():
            links = device.nvlinks().links
            assert links is not None
            found.append(sum(link.state == "down" for link in links))
        return found

    assert down("4x3090-bridged+nvlink-down@0") == [1, 1, 0, 0]
    assert down("dgx-h100-8+nvlink-down@2") == [0, 0, 1, 0, 0, 0, 0, 0]


def test_a_lost_gpu_raises_and_the_others_go_on() -> None:
    """From its time on every reading of the GPU fails as lost but its identity stays; its group hangs at zero bytes."""
    hardware, clock = opened("dgx-h100-8+lost@4~20")
    devices = hardware.devices()
    lost = devices[4]
    lost.power()
    clock.now += 20.0

    for name in set(READINGS) - {"identity"}:
        with pytest.raises(GpuLostError):
            getattr(lost, name)()
    with pytest.raises(GpuLostError):
        lost.begin(Tier.FAST)
    assert lost.identity().uuid
    assert hardware.devices() == devices
    before = devices[0].nvlink_traffic()
    clock.now += 5.0
    assert devices[0].nvlink_traffic() == before


def test_a_gpu_that_returns_is_a_new_object() -> None:
    """While it is away it is off the list; back again it is new, and what was known of it fails as lost."""
    hardware, clock = opened("dgx-v100-8+returns@6=30~10")
    old = hardware.devices()[6]
    clock.now += 15.0
    assert len(hardware.devices()) == 7
    with pytest.raises(GpuLostError):
        old.power()
    clock.now += 30.0

    back = hardware.devices()[6]
    assert back is not old
    assert back.identity().uuid == old.identity().uuid
    assert back is hardware.devices()[6]
    back.power()
    with pytest.raises(GpuLostError):
        old.power()


def test_a_gpu_that_needs_a_reset_says_so() -> None:
    """Its readings fail with the reset as the way out."""
    device = opened("dgx-h100-8+needs-reset@1")[0].devices()[1]

    with pytest.raises(GpuNeedsResetError):
        device.power()


def test_a_hanging_call_blocks_until_close() -> None:
    """The call is still out while other GPUs answer; close sets it free with an error."""
    hardware, _ = opened("dgx-h100-8+hang@3")
    hanging = hardware.devices()[3]
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            hanging.power()
        except DeviceError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    for device in hardware.devices():
        if device is not hanging:
            device.power()
    assert thread.is_alive()
    hardware.close()
    thread.join(timeout=10)

    assert not thread.is_alive()
    assert len(outcome) == 1


def test_a_slow_call_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call about the slow GPU waits for as long as told, calls about others do not wait."""
    hardware, _ = opened("2x4090+slow@1=0.7")
    waits: list[float | None] = []

    def note(timeout: float | None = None) -> bool:
        waits.append(timeout)
        return False

    monkeypatch.setattr(hardware._node.closed, "wait", note)
    hardware.devices()[0].power()
    assert waits == []
    hardware.devices()[1].power()
    hardware.devices()[1].clocks()
    assert waits == [0.7, 0.7]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("driver-gone", DriverNotLoadedError),
        ("driver-mismatch", DriverMismatchError),
        ("driver-missing", LibraryMissingError),
    ],
)
def test_a_driver_that_is_not_there(fault: str, error: type[DriverUnavailableError]) -> None:
    """Opening fails with the reason; one that goes while running fails every call until it is back."""
    with pytest.raises(error):
        opened(f"l4+{fault}")

    hardware, clock = opened(f"l4+{fault}~10-20")
    device = hardware.devices()[0]
    before = device.power().energy_j
    clock.now += 10.0
    for call in (device.power, hardware.devices, hardware.facts, hardware.open):
        with pytest.raises(error):
            call()
    clock.now += 10.0
    hardware.open()
    assert value_of(device.power().energy_j) > value_of(before)


def test_a_closed_machine_answers_nothing_and_opens_again_where_it_was() -> None:
    """After close calls fail in words; opened again, time and counters have gone on."""
    hardware, clock = opened("l4")
    before = hardware.devices()[0].power().energy_j
    hardware.close()
    with pytest.raises(DriverUnavailableError, match="closed"):
        hardware.devices()
    clock.now += 60.0
    hardware.open()

    assert value_of(hardware.devices()[0].power().energy_j) > value_of(before) + 60 * 12


def test_another_process_can_go_on_with_the_same_machine() -> None:
    """Given when the first began, a second one reads the same values and has the same faults behind it."""
    first, clock = opened("dgx-a100-8+lost@7~30")
    clock.now += 45.5
    second = SimulatedHardware("dgx-a100-8+lost@7~30", clock=clock, opened_at=first.opened_at)
    second.open()

    assert everything(second.devices()[5]) == everything(first.devices()[5])
    with pytest.raises(GpuLostError):
        second.devices()[7].power()


def test_xids_are_reported_once_when_due() -> None:
    """Each is reported at the next question after its time, with its GPU and when it happened."""
    hardware, clock = opened("dgx-h100-8+xid@2=13~5+lost@4~30+nvlink-errors@1")
    seen: list[XidEvent] = []
    assert hardware.watch_xids(seen.append) is None
    hardware.devices()
    assert [(event.code, event.at) for event in seen] == [(74, 1_750_000_000.0)]
    for _ in range(100):
        clock.now += 1.0
        hardware.devices()[0].begin(Tier.FAST)

    uuids = [device.identity().uuid for device in hardware.devices()]
    assert [(event.code, event.at - 1_750_000_000.0) for event in seen[1:]] == [(13, 5.0), (79, 30.0)]
    assert [event.gpu for event in seen] == [uuids[1], uuids[2], uuids[4]]


def test_a_stuck_collective_reads_busy_and_does_nothing() -> None:
    """All ranks read 100 % near idle power and not a byte passes over NVLink."""
    hardware, clock = opened("h200-8+stuck@1")
    before = [device.nvlink_traffic() for device in hardware.devices()]
    clock.now += 30.0

    assert [device.nvlink_traffic() for device in hardware.devices()] == before
    for device in hardware.devices():
        assert device.activity().utilization_pct == 100.0
        assert value_of(device.power().power_w) < 0.25 * 700
    assert hardware.jobs()[0].tokens_per_s == 0.0


def test_an_idle_allocation_holds_memory_and_computes_nothing() -> None:
    """Memory stays, utilisation is 0, clocks and power fall to idle."""
    device = opened("4x3090-bridged+idle-allocation")[0].devices()[0]

    assert value_of(device.memory().memory_used_bytes) > 19 * 2**30
    assert device.activity().utilization_pct == 0.0
    assert device.clocks().pstate == 8
    assert value_of(device.power().power_w) < 40


def test_a_slow_rank_and_a_noisy_neighbour_make_the_others_wait() -> None:
    """The culprit keeps its power while its siblings' falls; the neighbour shows as a process of somebody else."""
    for fault in ("slow-rank", "noisy-neighbour"):
        hardware, _ = opened(f"dgx-a100-8+{fault}@2")
        watts = [value_of(device.power().power_w) for device in hardware.devices()]
        assert all(watts[2] > 1.08 * watts[rank] for rank in (0, 1, 3)), fault
        assert hardware.jobs()[0].pace < 0.8
        assert {device.activity().utilization_pct for device in hardware.devices()} == {100.0}
    processes = hardware.devices()[2].processes().processes
    assert processes is not None
    facts = hardware.process_facts([process.pid for process in processes])
    assert facts is not None
    assert {facts[process.pid].user for process in processes} == {"serve", "mallory"}


def test_dead_fans_stand_still_and_the_board_heats_up() -> None:
    """The dead fan reads 0 while the other does what it can, and the board is hotter than its healthy self."""
    healthy = opened("4x3090-bridged")[0].devices()[1]
    broken = opened("4x3090-bridged+fan-dead@1")[0].devices()[1]
    fans = broken.fans().fans_pct

    assert fans is not None
    assert fans[0] == 0.0
    assert value_of(fans[1]) > 80
    assert value_of(broken.thermals().temperature_c) > value_of(healthy.thermals().temperature_c) + 8


def test_no_permission_hides_profile_and_processes() -> None:
    """The profile is refused with its reason, and of the processes on that GPU only PID and name are left."""
    hardware, _ = opened("dgx-h100-8+no-permission@0")
    device = hardware.devices()[0]
    processes = device.processes().processes
    assert processes is not None
    pid = processes[0].pid
    facts = hardware.process_facts([pid])

    assert device.profile().absent["sm_activity_pct"] is Absence.NO_PERMISSION
    assert facts is not None
    assert facts[pid].command is None
    assert facts[pid].user is None


def test_devices_can_be_read_from_many_threads() -> None:
    """One worker a device, all at once: nobody fails, and the energy ends where one reader would have found it."""
    hardware, clock = opened("dgx-h100-8")
    failures: list[BaseException] = []

    def read(device: Device) -> None:
        try:
            for _ in range(60):
                clock.now += 0.05
                everything(device)
        except Exception as error:  # noqa: BLE001  # handed to the assertion below
            failures.append(error)

    threads = [threading.Thread(target=read, args=(device,)) for device in hardware.devices()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now = 1_750_000_060.0
    alone, alone_clock = opened("dgx-h100-8")
    alone_clock.now = clock.now

    assert failures == []
    assert [device.power() for device in hardware.devices()] == [device.power() for device in alone.devices()]
