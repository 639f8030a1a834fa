from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.collectors.differencing import Differencer, note_rate
from gpuwatch_agent.hardware.base import Device, Tier
from gpuwatch_agent.model.absence import Absence

# PCIe 6 x16, the fastest link there is: a 32-bit counter wraps within 34 ms on it.
_FASTEST_LINK = 128e9


class PcieTrafficCollector:
    """Rates from the byte counters, where these can be trusted: many are 32 bits wide and wrap unseen."""

    name: ClassVar[str] = "pcie_traffic"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = ("pcie.tx_bytes_per_s", "pcie.rx_bytes_per_s")

    def __init__(self) -> None:
        self._tx = Differencer()
        self._rx = Differencer()

    def collect(self, device: Device, now: float) -> Collected:
        reading = device.pcie_traffic()
        collected = Collected()
        narrow = reading.wraps_at is not None and reading.wraps_at <= 1 << 32
        for name, counter, differencer in (
            ("tx_bytes", reading.tx_bytes, self._tx),
            ("rx_bytes", reading.rx_bytes, self._rx),
        ):
            rate = None
            if counter is not None:
                rate = differencer.rate(counter, now, reading.wraps_at, _FASTEST_LINK)
            refusal = Absence.IMPLAUSIBLE if counter is not None and narrow else reading.absent.get(name)
            note_rate(collected, f"pcie.{name}_per_s", rate, refusal)
        return collected
