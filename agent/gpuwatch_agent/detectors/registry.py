"""Every detector, in the order in which findings of equal weight are told. A new one is a file and a line here."""

from typing import Any

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.fan_failure import FanFailureDetector
from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.high_temperature import HighTemperatureDetector
from gpuwatch_agent.detectors.hw_slowdown import HwSlowdownDetector
from gpuwatch_agent.detectors.power_brake import PowerBrakeDetector
from gpuwatch_agent.detectors.power_throttle import PowerThrottleDetector
from gpuwatch_agent.detectors.thermal_throttle import ThermalThrottleDetector

DETECTORS: tuple[Detector[Any], ...] = (
    GpuLostDetector(),
    PowerBrakeDetector(),
    ThermalThrottleDetector(),
    HwSlowdownDetector(),
    FanFailureDetector(),
    PowerThrottleDetector(),
    HighTemperatureDetector(),
)
