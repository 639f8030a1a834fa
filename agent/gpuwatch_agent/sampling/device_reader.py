"""Reads one GPU: runs the collectors that are due, judges them alike, and keeps what each gave last."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct, structs

from gpuwatch_agent.collectors.base import Collected, Collector
from gpuwatch_agent.hardware.base import Device, GpuProcess, Identity, Tier
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.errors import DeviceError, DriverUnavailableError, GpuLostError
from gpuwatch_agent.sampling.breadcrumbs import Breadcrumbs
from gpuwatch_agent.sampling.meter import Meter


class DeviceReport(Struct):
    """What one reading of one GPU gave; `lost` where it could not be read at all."""

    identity: Identity
    collected: dict[str, Collected]
    processes: list[GpuProcess] | None
    read_at: float
    lost: DeviceError | None = None


class DeviceReader:
    """Belongs to one worker's thread: nobody else calls it."""

    def __init__(
        self,
        device: Device,
        identity: Identity,
        collectors: Sequence[Collector],
        *,
        meter: Meter,
        clock: Callable[[], float],
        breadcrumbs: Breadcrumbs | None = None,
        quarantined: Collection[str] = (),
        left_out: Mapping[str, Collected] | None = None,
    ) -> None:
        self._device = device
        self._identity = identity
        self._collectors = collectors
        self._meter = meter
        self._clock = clock
        self._breadcrumbs = breadcrumbs
        self._quarantined = frozenset(quarantined)
        self._collected: dict[str, Collected] = dict(left_out or {})
        self._identity_known = False
        self.at_work: str | None = None
        """The collector that is running, for whoever waits in vain."""

    def read(self, tiers: Sequence[Tier]) -> DeviceReport:
        """Run what is due. Errors of a single reading stay with it; those of the whole driver are raised."""
        lost: DeviceError | None = None
        now = self._clock()
        try:
            if not self._identity_known:
                self._identity = self._device.identity()
                self._identity_known = True
            for tier in tiers:
                self._device.begin(tier)
            # Counters are what they were when the driver gave them, which may be long after it was asked.
            now = self._clock()
            for collector in self._collectors:
                if collector.tier in tiers:
                    self._run(collector, now)
        except DeviceError as error:
            lost = error
            self._identity_known = False
        finally:
            self.at_work = None
            if self._breadcrumbs is not None:
                self._breadcrumbs.clear(self._identity.index)
        return DeviceReport(
            identity=self._identity,
            collected={name: one for name, one in self._collected.items() if name != "processes"},
            processes=self._processes(),
            read_at=now,
            lost=lost,
        )

    def _run(self, collector: Collector, now: float) -> None:
        if collector.name in self._quarantined:
            self._collected[collector.name] = Collected(absent=dict.fromkeys(collector.fields, Absence.SWITCHED_OFF))
            return
        tally = self._meter.tally(collector.name, collector.tier)
        if self._breadcrumbs is not None:
            self._breadcrumbs.mark(self._identity.index, collector.name)
        self.at_work = collector.name
        began = time.perf_counter()
        try:
            self._collected[collector.name] = collector.collect(self._device, now)
        except (DeviceError, DriverUnavailableError) as error:
            tally.failed(str(error))
            raise
        except Exception as error:  # noqa: BLE001  # one collector's fault is its own, and seen in its account
            tally.failed(f"{type(error).__name__}: {error}")
            self._collected[collector.name] = Collected(absent=dict.fromkeys(collector.fields, Absence.DRIVER_ERROR))
        tally.ran(time.perf_counter() - began)

    def _processes(self) -> list[GpuProcess] | None:
        one = self._collected.get("processes")
        found = one.values.get("processes") if one is not None else None
        return found if isinstance(found, list) else None


def lost_report(last: DeviceReport | None, identity: Identity, now: float) -> DeviceReport:
    """A GPU that was there and is not any more, with the last that was read of it."""
    if last is not None:
        return structs.replace(last, processes=None, lost=GpuLostError())
    return DeviceReport(identity=identity, collected={}, processes=None, read_at=now, lost=GpuLostError())
