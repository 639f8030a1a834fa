"""Every detector, in the order in which findings of equal weight are told. A new one is a file and a line here."""

from typing import Any

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.idle_allocation import IdleAllocationDetector
from gpuwatch_agent.detectors.mixed_hardware import MixedHardwareDetector
from gpuwatch_agent.detectors.slow_placement import SlowPlacementDetector

DETECTORS: tuple[Detector[Any], ...] = (
    GpuLostDetector(),
    MixedHardwareDetector(),
    SlowPlacementDetector(),
    IdleAllocationDetector(),
)
