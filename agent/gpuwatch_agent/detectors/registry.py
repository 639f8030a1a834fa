"""Every detector, in the order in which findings of equal weight are told. A new one is a file and a line here."""

from typing import Any

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.memory_imbalance import MemoryImbalanceDetector
from gpuwatch_agent.detectors.noisy_neighbour import NoisyNeighbourDetector
from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.detectors.tp_stalled import TpStalledDetector

DETECTORS: tuple[Detector[Any], ...] = (
    GpuLostDetector(),
    TpStalledDetector(),
    TpImbalanceDetector(),
    NoisyNeighbourDetector(),
    MemoryImbalanceDetector(),
)
