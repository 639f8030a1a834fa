"""Reads a node in the test's own process, collector by collector, as the sampler's workers do."""

from collections.abc import Sequence

from gpuwatch_agent.collectors.registry import make_collectors
from gpuwatch_agent.hardware.base import Device, Hardware, Identity, Tier
from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.sampling.device_reader import DeviceReader, DeviceReport
from gpuwatch_agent.sampling.gpu_builder import build_gpu
from gpuwatch_agent.sampling.meter import Meter


class SettableClock:
    """Time that passes when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class NodeUnderTest:
    """All GPUs of a hardware, read on demand."""

    def __init__(self, hardware: Hardware | None = None, clock: SettableClock | None = None) -> None:
        self.clock = clock or SettableClock()
        self.hardware = hardware or NvmlHardware(clock=self.clock, wall_clock=self.clock)
        self.meter = Meter()
        self._readers: dict[int, DeviceReader] = {}
        self.hardware.open()

    def reports(self, tiers: Sequence[Tier] = tuple(Tier)) -> list[DeviceReport]:
        return [self._reader(index, device).read(tiers) for index, device in self._devices()]

    def gpus(self, tiers: Sequence[Tier] = tuple(Tier)) -> list[Gpu]:
        return [
            build_gpu(report.identity, report.collected.values(), state="lost" if report.lost else "ok")
            for report in self.reports(tiers)
        ]

    def later(self, seconds: float = 1.0) -> list[Gpu]:
        """Read again after so much time."""
        self.clock.now += seconds
        return self.gpus()

    def errors(self) -> dict[str, str]:
        """What collectors failed with."""
        return {name: tally.last_error for name, tally in self.meter.tallies.items() if tally.last_error}

    def _devices(self) -> list[tuple[int, Device]]:
        return list(enumerate(self.hardware.devices()))

    def _reader(self, index: int, device: Device) -> DeviceReader:
        found = self._readers.get(id(device))
        if found is None:
            identity = Identity(index=index, uuid=f"unopened:{index}")
            found = self._readers[id(device)] = DeviceReader(
                device, identity, make_collectors(), meter=self.meter, clock=self.clock
            )
        return found
