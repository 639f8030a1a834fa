from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected, as_read
from gpuwatch_agent.hardware.base import Device, Tier

_ACTIVITIES = (
    "engine_activity_pct",
    "sm_activity_pct",
    "sm_occupancy_pct",
    "tensor_activity_pct",
    "dram_activity_pct",
)
_TRAFFIC = {"pcie_tx_bytes_per_s": "pcie.tx_bytes_per_s", "pcie_rx_bytes_per_s": "pcie.rx_bytes_per_s"}


class ProfileCollector:
    """What the parts of the chip really did; comes after `pcie_traffic`, whose figures it betters where it can."""

    name: ClassVar[str] = "profile"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = _ACTIVITIES

    def collect(self, device: Device, now: float) -> Collected:  # noqa: ARG002  # the hardware keeps the sample before
        reading = device.profile()
        collected = as_read(reading, _ACTIVITIES)
        for name, path in _TRAFFIC.items():
            value = getattr(reading, name)
            if value is not None:
                collected.values[path] = value
        return collected
