from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier

_FIELDS = (
    "gen",
    "gen_max",
    "width",
    "width_max",
)


class PcieLinkCollector:
    """Generation and width of the PCIe link: they change, so they are read again and again."""

    name: ClassVar[str] = "pcie_link"
    tier: ClassVar[Tier] = Tier.MEDIUM
    fields: ClassVar[tuple[str, ...]] = tuple(f"pcie.{field}" for field in _FIELDS)

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.pcie_link(), _FIELDS, "pcie.")
