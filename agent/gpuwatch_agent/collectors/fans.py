from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class FansCollector:
    """All fans, and the fastest of them as the one figure."""

    name: ClassVar[str] = "fans"
    tier: ClassVar[Tier] = Tier.MEDIUM
    fields: ClassVar[tuple[str, ...]] = ("fan_pct", "fans_pct")

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        reading = device.fans()
        collected = as_read(reading, ("fans_pct",))
        spinning = [speed for speed in reading.fans_pct or () if speed is not None]
        if spinning:
            collected.values["fan_pct"] = max(spinning)
        elif (reason := reading.absent.get("fans_pct")) is not None:
            collected.absent["fan_pct"] = reason
        return collected
