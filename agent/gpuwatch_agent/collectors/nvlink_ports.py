from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.hardware.base import Device, Tier
from gpuwatch_agent.model.absence import Absence


class NvLinkPortsCollector:
    """State, peer and errors of every NVLink, and how many of them are up."""

    name: ClassVar[str] = "nvlink_ports"
    tier: ClassVar[Tier] = Tier.SLOW
    fields: ClassVar[tuple[str, ...]] = ("nvlink.active", "nvlink.total", "nvlink.links")

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        reading = device.nvlinks()
        if reading.links is None:
            reason = reading.absent.get("links", Absence.NO_ANSWER)
            return Collected(absent=dict.fromkeys(self.fields, reason))
        return Collected(
            values={
                "nvlink.active": sum(link.state == "up" for link in reading.links),
                "nvlink.total": len(reading.links),
                "nvlink.links": reading.links,
            }
        )
