from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class Bar1Collector:
    """The window through which others see the frame buffer."""

    name: ClassVar[str] = "bar1"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = (
        "bar1_used_bytes",
        "bar1_total_bytes",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.bar1(), self.fields)
