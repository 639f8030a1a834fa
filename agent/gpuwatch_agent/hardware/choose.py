"""Which hardware a configuration asks for."""

import time

from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Hardware


def make_hardware(config: Config) -> Hardware:
    """A simulated machine where one is named, else this machine's driver; nothing is opened yet."""
    if config.hardware.simulate:
        from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware

        return SimulatedHardware(config.hardware.simulate, clock=time.time, seed=config.hardware.seed)
    from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware

    return NvmlHardware(kernel_log=config.hardware.kmsg)
