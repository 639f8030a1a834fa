"""Every detector, in the order in which findings of equal weight are told. A new one is a file and a line here."""

from typing import Any

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.ecc_uncorrected import EccUncorrectedDetector
from gpuwatch_agent.detectors.fabric_error import FabricErrorDetector
from gpuwatch_agent.detectors.fan_failure import FanFailureDetector
from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.gpu_stale import GpuStaleDetector
from gpuwatch_agent.detectors.high_temperature import HighTemperatureDetector
from gpuwatch_agent.detectors.hw_slowdown import HwSlowdownDetector
from gpuwatch_agent.detectors.idle_allocation import IdleAllocationDetector
from gpuwatch_agent.detectors.memory_imbalance import MemoryImbalanceDetector
from gpuwatch_agent.detectors.mixed_hardware import MixedHardwareDetector
from gpuwatch_agent.detectors.noisy_neighbour import NoisyNeighbourDetector
from gpuwatch_agent.detectors.nvlink_down import NvlinkDownDetector
from gpuwatch_agent.detectors.nvlink_errors import NvlinkErrorsDetector
from gpuwatch_agent.detectors.pcie_degraded import PcieDegradedDetector
from gpuwatch_agent.detectors.pcie_errors import PcieErrorsDetector
from gpuwatch_agent.detectors.power_brake import PowerBrakeDetector
from gpuwatch_agent.detectors.power_throttle import PowerThrottleDetector
from gpuwatch_agent.detectors.row_remap import RowRemapDetector
from gpuwatch_agent.detectors.slow_placement import SlowPlacementDetector
from gpuwatch_agent.detectors.thermal_throttle import ThermalThrottleDetector
from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.detectors.tp_stalled import TpStalledDetector
from gpuwatch_agent.detectors.xid import XidDetector

DETECTORS: tuple[Detector[Any], ...] = (
    GpuLostDetector(),
    GpuStaleDetector(),
    XidDetector(),
    EccUncorrectedDetector(),
    RowRemapDetector(),
    ThermalThrottleDetector(),
    PowerBrakeDetector(),
    HwSlowdownDetector(),
    HighTemperatureDetector(),
    FanFailureDetector(),
    PowerThrottleDetector(),
    NvlinkDownDetector(),
    NvlinkErrorsDetector(),
    FabricErrorDetector(),
    PcieDegradedDetector(),
    PcieErrorsDetector(),
    TpStalledDetector(),
    TpImbalanceDetector(),
    MemoryImbalanceDetector(),
    NoisyNeighbourDetector(),
    SlowPlacementDetector(),
    MixedHardwareDetector(),
    IdleAllocationDetector(),
)
