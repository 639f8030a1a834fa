"""Which hardware a configuration asks for."""

import time
from collections.abc import Callable

from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Hardware


def make_hardware(config: Config, *, simulation_clock: Callable[[], float] = time.time) -> Hardware:
    """A simulated machine where one is named, else this machine's driver; nothing is opened yet."""
    if config.hardware.simulate:
        from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware

        return SimulatedHardware(config.hardware.simulate, clock=simulation_clock, seed=config.hardware.seed)
    from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware

    return NvmlHardware(kernel_log=config.hardware.kmsg)
