import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwatch_agent.hardware.base import Device, RawReading
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from gpuwatch_agent.model.absence import Absence

READINGS = [
    "identity",
    "activity",
    "codecs",
    "memory",
    "bar1",
    "power",
    "thermals",
    "limits",
    "fans",
    "clocks",
    "throttle",
    "profile",
    "pcie_traffic",
    "pcie_link",
    "pcie_health",
    "nvlink_traffic",
    "nvlinks",
    "memory_health",
    "modes",
    "mig",
    "processes",
]
COUNTED = {
    "power": ("energy_j",),
    "pcie_traffic": ("tx_bytes", "rx_bytes"),
    "nvlink_traffic": ("tx_bytes", "rx_bytes"),
    "pcie_health": ("replays",),
}


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


def numbers(reading: RawReading) -> list[tuple[str, float]]:
    return [
        (name, value)
        for name in reading.__struct_fields__
        if isinstance(value := getattr(reading, name), int | float) and not isinstance(value, bool)
    ]


@pytest.mark.parametrize("machine", list(MACHINES))
def test_absent_values_say_why(machine: str) -> None:
    """Whatever a board does not have is None with a reason under the field's name, and nothing else is None."""
    hardware, _ = opened(machine)

    for device in hardware.devices():
        for name, reading in everything(device).items():
            for field in reading.__struct_fields__:
                if field == "wraps_at":
                    continue
                assert (getattr(reading, field) is None) == (field in reading.absent), (machine, name, field)


def test_boards_lack_what_real_ones_lack() -> None:
    """GeForce has fans and no ECC, SXM boards have no fans, GPM is Hopper's, pages are retired before Ampere only."""
    geforce = opened("2x4090")[0].devices()[0]
    h100 = opened("dgx-h100-8")[0].devices()[0]
    a100 = opened("dgx-a100-8")[0].devices()[0]
    v100 = opened("dgx-v100-8")[0].devices()[0]

    assert geforce.fans().fans_pct is not None
    assert geforce.memory_health().absent["ecc"] is Absence.NOT_SUPPORTED
    assert geforce.thermals().memory_temperature_c is None
    assert geforce.nvlinks().links == []
    assert h100.fans().absent == {"fans_pct": Absence.NOT_SUPPORTED}
    assert h100.profile().sm_activity_pct is not None
    assert a100.profile().absent["sm_activity_pct"] is Absence.NOT_SUPPORTED
    assert h100.thermals().temperature_margin_c is not None
    assert a100.thermals().absent["temperature_margin_c"] is Absence.NOT_SUPPORTED
    assert a100.limits().temperature_slowdown_c == 89.0
    assert a100.modes().absent["recovery_action"] is Absence.DRIVER_TOO_OLD
    assert v100.memory_health().retired_pages is not None
    assert v100.memory_health().absent["remapped_rows"] is Absence.NOT_SUPPORTED


def test_the_cube_mesh_has_the_links_of_a_dgx_1() -> None:
    """Each V100 has six links: two to two of its neighbours and one to the other two."""
    devices = opened("dgx-v100-8")[0].devices()
    address = {device.identity().pci_bus_id: device.identity().index for device in devices}
    matrix = []
    for device in devices:
        links = device.nvlinks().links
        assert links is not None
        to = Counter(address[link.peer] for link in links)
        matrix.append([to[other] for other in range(8)])

    assert matrix[0] == [0, 1, 1, 2, 2, 0, 0, 0]
    assert matrix[5] == [0, 2, 0, 0, 1, 0, 2, 1]
    assert all(sum(row) == 6 for row in matrix)
    assert all(matrix[one][other] == matrix[other][one] for one in range(8) for other in range(8))


def test_placement_follows_the_wiring() -> None:
    """PCIe ancestors and peer access are those of the machine; a GPU is not joined to itself."""
    pair = opened("2x4090")[0].devices()
    placement = pair[0].placement(pair)
    assert placement.ancestors == {1: "PHB"}
    assert placement.p2p_read == {1: "chipset not supported"}

    bridged = opened("4x3090-bridged")[0].devices()
    assert bridged[0].placement(bridged).p2p_write == {1: "ok", 2: "chipset not supported", 3: "chipset not supported"}

    switched = opened("dgx-h100-8")[0].devices()
    ancestors = switched[0].placement(switched).ancestors
    assert ancestors is not None
    assert (ancestors[3], ancestors[4]) == ("NODE", "SYS")


def test_mig_instances_are_rows_of_their_own() -> None:
    """Two pods are busy in instances of their own, the third is empty, and the chip as a whole has no utilisation."""
    device = opened("h100-mig")[0].devices()[0]
    mig = device.mig().mig

    assert mig is not None
    assert mig.enabled
    assert [instance.gpu_instance for instance in mig.instances] == [2, 5, 13]
    assert [bool(instance.sm_activity_pct) for instance in mig.instances] == [True, True, False]
    assert device.activity().absent["utilization_pct"] is Absence.NOT_SUPPORTED
    processes = device.processes().processes
    assert processes is not None
    assert {process.gpu_instance for process in processes} == {2, 5}


def test_a_machine_without_gpus_opens() -> None:
    """Zero GPUs are no error."""
    hardware, _ = opened("none")

    assert hardware.devices() == []
    assert hardware.facts().simulated


@pytest.mark.parametrize("machine", list(MACHINES))
def test_same_seed_and_clock_give_the_same_values(machine: str) -> None:
    """However often and in whatever order GPUs are asked, a moment reads the same; another seed reads otherwise."""
    busy, busy_clock = opened(machine, seed=7)
    lazy, lazy_clock = opened(machine, seed=7)
    for tick in range(300):
        busy_clock.now = 1_750_000_000.0 + tick * 0.13
        for device in reversed(busy.devices()) if tick % 2 else busy.devices():
            device.power()
    busy_clock.now = lazy_clock.now = 1_750_000_041.3
    first = [everything(device) for device in reversed(busy.devices())]
    second = [everything(device) for device in lazy.devices()]

    assert first[::-1] == second
    if second:
        other, other_clock = opened(machine, seed=8)
        other_clock.now = 1_750_000_041.3
        assert [everything(device) for device in other.devices()] != second


def test_a_clock_that_jumps_back_holds_time_still() -> None:
    """No counter goes back with the clock."""
    hardware, clock = opened("l4")
    device = hardware.devices()[0]
    clock.now += 100.0
    before = device.power().energy_j
    clock.now -= 3_600.0

    assert device.power().energy_j == before


@settings(max_examples=25, deadline=None)
@given(
    machine=st.sampled_from([name for name in MACHINES if name != "none"]),
    overlay=st.sampled_from(["", "+hot", "+power-brake", "+power-cap", "+noisy-neighbour", "+idle-allocation"]),
    seed=st.integers(0, 2**32 - 1),
    moments=st.lists(st.floats(0.0, 5_400.0), min_size=1, max_size=4),
)
def test_no_number_is_absurd_over_hours(machine: str, overlay: str, seed: int, moments: list[float]) -> None:
    """Every number is finite and not negative, percentages stay within 100, counters never go back."""
    if "mig" in machine and overlay == "+noisy-neighbour":
        overlay = ""
    hardware, clock = opened(machine + overlay, seed)
    before: dict[tuple[int, str], float] = {}
    for moment in sorted(moments):
        clock.now = 1_750_000_000.0 + moment
        for device in hardware.devices():
            for name, reading in everything(device).items():
                for field, value in numbers(reading):
                    assert math.isfinite(value)
                    assert value >= 0 or field == "temperature_margin_c"
                    assert value <= 100 or not field.endswith("_pct")
                    if field in COUNTED.get(name, ()):
                        key = (device.identity().index, f"{name}.{field}")
                        assert value >= before.get(key, 0)
                        before[key] = value
            memory, limits, power = device.memory(), device.limits(), device.power()
            assert memory.memory_used_bytes is not None
            assert memory.memory_total_bytes is not None
            assert memory.memory_used_bytes <= memory.memory_total_bytes
            assert power.power_w is not None
            assert limits.power_limit_w is not None
            assert power.power_w <= limits.power_limit_w * 1.03
