from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class LimitsCollector:
    """What the board may draw and how hot it may get."""

    name: ClassVar[str] = "limits"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = (
        "power_limit_w",
        "power_limit_default_w",
        "power_limit_min_w",
        "power_limit_max_w",
        "temperature_slowdown_c",
        "temperature_shutdown_c",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.limits(), self.fields)
