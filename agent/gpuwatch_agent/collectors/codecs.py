from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class CodecsCollector:
    """Video engines."""

    name: ClassVar[str] = "codecs"
    tier: ClassVar[Tier] = Tier.MEDIUM
    fields: ClassVar[tuple[str, ...]] = (
        "encoder_pct",
        "decoder_pct",
    )

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.codecs(), self.fields)
