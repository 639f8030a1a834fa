from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ActivityCollector:
    """The driver's utilisation figures."""

    name: ClassVar[str] = "activity"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = (
        "utilization_pct",
        "memory_utilization_pct",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.activity(), self.fields)
