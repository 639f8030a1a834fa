from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier

_FIELDS = (
    "replays",
    "errors",
)


class PcieHealthCollector:
    """Error counters of the PCIe link."""

    name: ClassVar[str] = "pcie_health"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = tuple(f"pcie.{field}" for field in _FIELDS)

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.pcie_health(), _FIELDS, "pcie.")
