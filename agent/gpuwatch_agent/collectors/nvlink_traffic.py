from typing import ClassVar

from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.collectors.differencing import Differencer, note_rate
from gpuwatch_agent.hardware.base import Device, Tier

# Several times what all links of one GPU carry today: more than that is a counter that leapt.
_FASTEST_BOARD = 20e12


class NvLinkTrafficCollector:
    """Rates over all NVLinks of a GPU, from its byte counters."""

    name: ClassVar[str] = "nvlink_traffic"
    tier: ClassVar[Tier] = Tier.FAST
    fields: ClassVar[tuple[str, ...]] = ("nvlink.tx_bytes_per_s", "nvlink.rx_bytes_per_s")

    def __init__(self) -> None:
        self._tx = Differencer()
        self._rx = Differencer()

    def collect(self, device: Device, now: float) -> Collected:
        reading = device.nvlink_traffic()
        collected = Collected()
        for name, counter, differencer in (
            ("tx_bytes", reading.tx_bytes, self._tx),
            ("rx_bytes", reading.rx_bytes, self._rx),
        ):
            rate = differencer.rate(counter, now, fastest=_FASTEST_BOARD) if counter is not None else None
            note_rate(collected, f"nvlink.{name}_per_s", rate, reading.absent.get(name))
        return collected
