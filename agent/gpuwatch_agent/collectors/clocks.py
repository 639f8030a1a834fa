from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ClocksCollector:
    """Clocks and performance state."""

    name: ClassVar[str] = "clocks"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = (
        "sm_clock_mhz",
        "memory_clock_mhz",
        "pstate",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.clocks(), self.fields)
