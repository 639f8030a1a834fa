from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ModesCollector:
    """Settings, fabric state and the driver's own verdict."""

    name: ClassVar[str] = "modes"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = (
        "persistence_mode",
        "compute_mode",
        "display_active",
        "fabric",
        "recovery_action",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.modes(), self.fields)
