import pytest

from gpuwatch_agent.hardware.base import Device
from gpuwatch_agent.hardware.simulated.hardware import JobPace, SimulatedHardware
from gpuwatch_agent.hardware.simulated.machines import MACHINES


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


def value_of(reading: float | None) -> float:
    assert reading is not None
    return reading


def mean_power_w(hardware: SimulatedHardware, clock: Clock, seconds: int = 60) -> list[float]:
    def energies() -> list[float]:
        return [value_of(device.power().energy_j) for device in hardware.devices()]

    before = energies()
    clock.now += seconds
    return [(after - earlier) / seconds for earlier, after in zip(before, energies(), strict=True)]


def job(hardware: SimulatedHardware, name: str) -> JobPace:
    return next(pace for pace in hardware.jobs() if pace.name == name)


def sm_clock(device: Device) -> float:
    return value_of(device.clocks().sm_clock_mhz)


@pytest.mark.parametrize("machine", ["dgx-h100-8+hot@5", "4x3090-bridged", "l4"])
def test_energy_is_the_integral_of_power(machine: str) -> None:
    """The energy counter rises by exactly the instant power times the time it held."""
    hardware, clock = opened(machine)
    device = hardware.devices()[-1]
    before = value_of(device.power().energy_j)
    sum_j = 0.0
    for _ in range(400):
        sum_j += value_of(device.power().power_instant_w) * 0.25
        clock.now += 0.25

    assert value_of(device.power().energy_j) - before == pytest.approx(sum_j, rel=1e-5)


def test_throttle_seconds_count_the_time_a_reason_held() -> None:
    """A reason that holds all the time is counted second by second."""
    hardware, clock = opened("dgx-a100-8+power-brake@1")
    device = hardware.devices()[1]
    before = device.throttle().throttle_seconds
    clock.now += 33.3
    after = device.throttle().throttle_seconds

    assert before is not None
    assert after is not None
    assert after["hw_power_brake"] - before["hw_power_brake"] == pytest.approx(33.3, abs=1e-6)
    assert after["hw_thermal"] == before["hw_thermal"]


@pytest.mark.parametrize(("machine", "ranks"), [("dgx-h100-8+hot@5", range(8)), ("dgx-a100-8", range(4))])
def test_ranks_of_a_ring_send_the_same_bytes(machine: str, ranks: range) -> None:
    """NVLink traffic is equal on all ranks of a group, also when one of them is late."""
    hardware, clock = opened(machine)

    def sent() -> list[int]:
        traffic = [hardware.devices()[rank].nvlink_traffic().tx_bytes for rank in ranks]
        return [count for count in traffic if count is not None]

    before = sent()
    clock.now += 17.2
    moved = {after - earlier for earlier, after in zip(before, sent(), strict=True)}

    assert len(before) == len(ranks)
    assert len(moved) == 1
    assert moved.pop() > 1e9


def test_a_healthy_group_is_even() -> None:
    """All eight ranks draw alike, run at full clocks and far from their temperature limit."""
    hardware, clock = opened("dgx-h100-8")
    watts = mean_power_w(hardware, clock)

    assert max(watts) < 1.08 * min(watts)
    assert 540 < min(watts) < 680
    for device in hardware.devices():
        assert sm_clock(device) == 1980
        assert value_of(device.thermals().temperature_c) < 76
        assert device.throttle().throttle_reasons == []
    assert job(hardware, "chat").pace > 0.95


def test_one_hot_gpu_slows_the_group_and_the_others_wait() -> None:
    """The hot one throttles at its limit; the rest read 100 % at full clocks, draw less, and all tokens fall."""
    hardware, clock = opened("dgx-h100-8+hot@5")
    clocks, temperatures = [], []
    watts = mean_power_w(hardware, clock)
    devices = hardware.devices()
    for _ in range(60):
        clock.now += 1.0
        clocks.append(sm_clock(devices[5]))
        temperatures.append(value_of(devices[5].thermals().temperature_c))

    assert sum(clocks) / 60 == pytest.approx(1065, abs=60)
    assert sum(temperatures) / 60 == pytest.approx(88.5, abs=1.0)
    assert watts[5] == pytest.approx(426, abs=25)
    waiters = [watt for gpu, watt in enumerate(watts) if gpu != 5]
    assert sum(waiters) / 7 == pytest.approx(372, abs=25)
    assert max(waiters) < watts[5]
    assert {device.activity().utilization_pct for device in devices} == {100.0}
    assert {sm_clock(device) for device in devices if device is not devices[5]} == {1980}
    reasons = devices[5].throttle().throttle_reasons
    assert reasons is not None
    assert "sw_thermal" in reasons
    assert 0.4 < job(hardware, "chat").pace < 0.75
    late, waiting = devices[5].profile(), devices[0].profile()
    assert value_of(late.tensor_activity_pct) > 1.4 * value_of(waiting.tensor_activity_pct)


@pytest.mark.parametrize("machine", [name for name in MACHINES if name != "none"])
def test_blocked_air_brings_every_board_to_its_limit(machine: str) -> None:
    """Within minutes the hot GPU lowers its clock for heat on every machine, and stays below shutdown."""
    hardware, clock = opened(f"{machine}+hot")
    cool, cool_clock = opened(machine)
    lowered = 0
    for _ in range(120):
        clock.now += 3.0
        cool_clock.now += 3.0
        hot, healthy = hardware.devices()[0], cool.devices()[0]
        assert "sw_thermal" not in (healthy.throttle().throttle_reasons or [])
        if "sw_thermal" in (hot.throttle().throttle_reasons or []):
            lowered += sm_clock(hot) < sm_clock(healthy)
        celsius, limits = hot.thermals().temperature_c, hot.limits()
        assert value_of(celsius) < value_of(limits.temperature_shutdown_c)

    assert lowered > 10


def test_a_lower_power_limit_lowers_the_clock_and_the_pace() -> None:
    """The capped rank draws its limit, says why, and the group goes at its pace."""
    hardware, clock = opened("dgx-a100-8+power-cap@6=220")
    watts = mean_power_w(hardware, clock)
    capped = hardware.devices()[6]

    assert watts[6] == pytest.approx(220, abs=6)
    assert sm_clock(capped) < 1200
    assert capped.throttle().throttle_reasons == ["sw_power_cap"]
    assert job(hardware, "code").pace < 0.9 < job(hardware, "chat").pace


def test_training_pauses_for_checkpoints() -> None:
    """Within half an hour there is a pause in which the boards go idle and their clocks, links and watts fall."""
    hardware, clock = opened("4x3090-bridged")
    device = hardware.devices()[2]
    idle = []
    for _ in range(400):
        clock.now += 5.0
        if device.activity().utilization_pct == 0.0:
            idle.append((device.clocks().pstate, device.pcie_link().gen, device.throttle().throttle_reasons))
            assert value_of(device.power().power_instant_w) < 60

    assert idle
    assert set(map(str, idle)) == {"(8, 1, ['idle'])"}


def test_a_layer_split_takes_turns() -> None:
    """The two GPUs' utilisation follows their part of the layers and neither spins while the other works."""
    hardware, clock = opened("2x4090")
    first, second = [], []
    for _ in range(60):
        clock.now += 1.0
        one, other = hardware.devices()
        first.append(value_of(one.activity().utilization_pct))
        second.append(value_of(other.activity().utilization_pct))

    assert 85 < (sum(first) + sum(second)) / 60 <= 100.5
    assert sum(first) > 1.1 * sum(second)


def test_a_narrow_slot_slows_training_over_pcie_only() -> None:
    """One lane holds a group back whose collectives go over PCIe, and not one that has NVLink."""
    healthy = job(opened("4x3090-bridged")[0], "finetune").pace
    narrow = job(opened("4x3090-bridged+pcie-narrow@1=1")[0], "finetune").pace
    joined = job(opened("dgx-h100-8+pcie-narrow@1=1")[0], "chat").pace

    assert narrow < 0.6 * healthy
    assert joined > 0.95
