from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class MemoryHealthCollector:
    """ECC, remapped rows, retired pages."""

    name: ClassVar[str] = "memory_health"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = (
        "ecc",
        "remapped_rows",
        "retired_pages",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.memory_health(), self.fields)
