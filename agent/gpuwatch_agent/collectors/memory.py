from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class MemoryCollector:
    """Frame buffer."""

    name: ClassVar[str] = "memory"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = (
        "memory_used_bytes",
        "memory_total_bytes",
        "memory_reserved_bytes",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.memory(), self.fields)
