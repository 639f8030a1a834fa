"""Nobody is woken for a machine that is as it should be."""

import pytest

from gpuwatch_agent.detectors.fan_failure import FanFailureDetector
from gpuwatch_agent.detectors.high_temperature import HighTemperatureDetector
from gpuwatch_agent.detectors.hw_slowdown import HwSlowdownDetector
from gpuwatch_agent.detectors.power_brake import PowerBrakeDetector
from gpuwatch_agent.detectors.power_throttle import PowerThrottleDetector
from gpuwatch_agent.detectors.thermal_throttle import ThermalThrottleDetector
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from support.simulated_story import story_of

ALL = (
    ThermalThrottleDetector(),
    PowerThrottleDetector(),
    PowerBrakeDetector(),
    HwSlowdownDetector(),
    HighTemperatureDetector(),
    FanFailureDetector(),
)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_ten_healthy_minutes_pass_in_silence(machine: str) -> None:
    """Power caps, bursts, idle spells and fans at rest included."""
    assert story_of(machine, 600, ALL).events == []


@pytest.mark.parametrize(
    "fault", ["slow-rank", "noisy-neighbour", "pcie-narrow", "stuck", "ecc-storm", "no-permission"]
)
def test_other_faults_are_not_mistaken_for_heat_or_power(fault: str) -> None:
    """Their own findings tell them."""
    assert story_of(f"dgx-h100-8+{fault}@3~30", 120, ALL).events == []
