from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ThermalsCollector:
    """Temperatures."""

    name: ClassVar[str] = "thermals"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = (
        "temperature_c",
        "memory_temperature_c",
        "temperature_margin_c",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.thermals(), self.fields)
