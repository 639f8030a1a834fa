from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier


class ProcessesCollector:
    """The driver's process list; who they are is attributed once for the whole node, from the host's side."""

    name: ClassVar[str] = "processes"
    tier: ClassVar[Tier] = Tier.MEDIUM
    fields: ClassVar[tuple[str, ...]] = ("processes",)

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # one moment says it all
        return as_read(device.processes(), self.fields)
