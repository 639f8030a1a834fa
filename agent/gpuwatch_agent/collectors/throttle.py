from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ThrottleCollector:
    """Why clocks are held down, and for how long so far."""

    name: ClassVar[str] = "throttle"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = (
        "throttle_reasons",
        "throttle_seconds",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.throttle(), self.fields)
