"""Reads a whole node: what is due of each GPU, within its deadline, and the host beside it.

The sampler process runs one for as long as it lives; `gpuwatch status` runs one for a single reading.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gpuwatch_agent.attribution.attribute import attribute
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.collectors.registry import left_out, make_collectors
from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Device, GpuProcess, Hardware, Identity, NodeFacts, Placement, Tier
from gpuwatch_agent.hardware.host import HostReader, node_name
from gpuwatch_agent.model.errors import DriverSilentError
from gpuwatch_agent.model.frame import NO_GPUS, Cost, Frame, Trouble
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.sampling.breadcrumbs import Blame, Breadcrumbs
from gpuwatch_agent.sampling.device_reader import DeviceReader, lost_report
from gpuwatch_agent.sampling.meter import Meter
from gpuwatch_agent.sampling.roster import Roster
from gpuwatch_agent.sampling.worker import Worker

if TYPE_CHECKING:
    from gpuwatch_agent.attribution.ras import Communicator
    from gpuwatch_agent.sampling.ras_watch import RasWatch

# Without persistence mode the first call wakes every board, which takes seconds each.
OPENING_DEADLINE_S = 20.0
# A GPU's first reading reads everything, static facts too.
FIRST_READING_DEADLINE_S = 2.0
_HOST_WAIT_S = 0.25
_FIRST_HOST_WAIT_S = 1.0
CLOSING_DEADLINE_S = 0.5

HostSide = tuple[Host, dict[int, list[Process]]]


class Rig:
    """The driver is touched only on worker threads; this object belongs to one thread that waits for them."""

    def __init__(
        self,
        hardware: Hardware,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        breadcrumbs: Breadcrumbs | None = None,
        quarantine: Sequence[Blame] = (),
        rates: bool = True,
    ) -> None:
        self._hardware = hardware
        self._config = config
        self._clock = clock
        self._wall_clock = wall_clock
        self._breadcrumbs = breadcrumbs
        self._quarantine = quarantine
        self._rates = rates
        self._meter = Meter()
        self._roster = Roster(self._make_reader, self._meter, clock)
        self._node: Worker[tuple[NodeFacts, list[Device]] | None] = Worker("node", clock)
        self._host_worker: Worker[HostSide] = Worker("host", clock)
        self._host_reader = HostReader(clock)
        asks_nccl = config.attribution.nccl_ras
        self._process_table = ProcessTable(namespace_pids=asks_nccl)
        self._ras = _ras_watch(config, self._meter, clock) if asks_nccl else None
        self._facts = NodeFacts()
        self._host: Host | None = None
        self._processes: dict[int, list[Process]] = {}
        self._samples = 0
        self._missed = 0
        self._sample_s: float | None = None
        self._roster_due = 0.0
        self.roster_changes = 0

    def open(self) -> None:
        """Start the driver and find the GPUs; raises `DriverUnavailableError`, also where the driver stays silent."""
        self._node.start(self._open)
        found = self._node.answer(OPENING_DEADLINE_S)
        if found is None:
            raise DriverSilentError(OPENING_DEADLINE_S)
        self._take_devices(found)

    def _open(self) -> tuple[NodeFacts, list[Device]]:
        self._hardware.open()
        return self._hardware.facts(), self._hardware.devices()

    def close(self) -> None:
        """Let go of the driver, unless a call still hangs in it: then the process's end must do."""
        busy = [seat.worker for seat in self._roster.seats if seat.worker.busy_since is not None]
        for seat in self._roster.seats:
            seat.worker.stop()
        self._host_worker.stop()
        if self._ras is not None:
            self._ras.stop()
        if not busy and self._node.busy_since is None:
            # Letting go may hang, too, and then the process's end must do.
            self._node.start(self._hardware.close)
            self._node.answer(CLOSING_DEADLINE_S)
        self._node.stop()

    def read(self, tiers: Sequence[Tier] | None = None) -> Frame:
        """One sample of the node; `tiers` names what to read whatever is due, as a one-shot does."""
        began = time.process_time()
        now = self._clock()
        self._refresh_roster(now)
        medium = False
        for position, seat in enumerate(self._roster.seats):
            seat.take(0)
            wanted = list(tiers) if tiers is not None else self._due(seat.due, position, now)
            medium = medium or Tier.MEDIUM in wanted
            if seat.gone:
                if seat.report is None or seat.report.lost is None:
                    seat.report = lost_report(seat.report, seat.identity, now)
                continue
            if not wanted or not seat.begin(wanted):
                continue
            wait = self._config.sampling.deadline_s
            if not seat.take(wait if seat.report is not None else max(wait, FIRST_READING_DEADLINE_S)):
                self._missed += 1
                self._note_missed(seat.reader.at_work)
        self._roster.drop_doubles()
        self._read_host(medium=medium)
        self._samples += 1
        self._sample_s = time.process_time() - began
        return self._frame()

    def _due(self, due: dict[Tier, float], position: int, now: float) -> list[Tier]:
        sampling = self._config.sampling
        periods = {Tier.FAST: sampling.interval_s, Tier.MEDIUM: sampling.medium_s, Tier.SLOW: sampling.slow_s}
        wanted: list[Tier] = []
        for tier, period in periods.items():
            at = due.get(tier)
            if at is None:
                # The slow tier of the GPUs is spread, so that no single sample carries all of it.
                spread = period * position / len(self._roster.seats) if tier is Tier.SLOW else 0.0
                due[tier] = now + period + spread
                wanted.append(tier)
            elif now >= at - sampling.interval_s / 2:
                due[tier] = max(at + period, now + period / 2)
                wanted.append(tier)
        return wanted

    def _note_missed(self, collector: str | None) -> None:
        tally = self._meter.tallies.get(collector) if collector is not None else None
        if tally is not None:
            tally.missed += 1

    def _refresh_roster(self, now: float) -> None:
        """Look for GPUs that came or went; a driver that is slow with it holds nothing up."""
        if self._node.busy_since is not None:
            found = self._node.answer(0)
            if found is not None:
                self._take_devices(found)
        elif now >= self._roster_due:
            self._roster_due = now + self._config.sampling.slow_s
            self._node.start(lambda: (self._facts, self._hardware.devices()))

    def _take_devices(self, found: tuple[NodeFacts, list[Device]]) -> None:
        self._facts, devices = found
        self._roster_due = self._clock() + self._config.sampling.slow_s
        if self._roster.update(devices):
            self.roster_changes += 1

    def _read_host(self, *, medium: bool) -> None:
        listed = self._roster.listed()
        if self._host_worker.busy_since is None:
            if not medium and self._host is not None:
                return
            heard = self._ras.communicators() if self._ras is not None and not self._facts.simulated else ()
            self._host_worker.start(partial(self._host_side, listed, heard))
            answer = self._host_worker.answer(_HOST_WAIT_S if self._host is not None else _FIRST_HOST_WAIT_S)
        else:
            answer = self._host_worker.answer(0)
        if answer is not None:
            self._host, self._processes = answer
            return
        # The kernel holds up whoever reads /proc of a process that hangs in it: what was read before is true no more.
        since = self._host_worker.busy_since
        patience = self._config.sampling.stale_after_s + self._config.sampling.medium_s
        if self._host is None or (since is not None and self._clock() - since > patience):
            self._host, self._processes = None, attribute(listed, {})

    def _host_side(
        self, listed: Mapping[int, Sequence[GpuProcess]], communicators: Sequence["Communicator"]
    ) -> HostSide:
        tally = self._meter.tally("host", Tier.MEDIUM)
        began = time.perf_counter()
        pids = sorted({process.pid for processes in listed.values() for process in processes})
        facts = self._hardware.process_facts(pids)
        if facts is None:
            facts = self._process_table.facts(pids)
        attributed = attribute(listed, facts, communicators)
        host = self._host_reader.read(rates=self._rates)
        tally.ran(time.perf_counter() - began)
        return host, attributed

    def _frame(self) -> Frame:
        now = self._clock()
        gpus = [
            seat.row(now, self._config.sampling.stale_after_s, self._processes.get(seat.identity.index))
            for seat in self._roster.seats
        ]
        return Frame(
            node=node_name(),
            taken_at=self._wall_clock(),
            simulated=self._facts.simulated,
            driver_version=self._facts.driver_version,
            cuda_version=self._facts.cuda_version,
            host=self._host,
            gpus=gpus,
            trouble=None if gpus else _NO_GPUS,
            agent=self._cost(),
        )

    def _cost(self) -> Cost:
        return Cost(
            interval_s=self._config.sampling.interval_s,
            samples=self._samples,
            sample_ms=round(self._sample_s * 1000, 3) if self._sample_s is not None else None,
            missed_deadlines=self._missed,
            collectors=self._meter.report(self._wall_clock()),
        )

    def placements(self) -> dict[int, Placement]:
        """Where each GPU sits, by index; a GPU that does not answer in time is left out."""
        found: dict[int, Placement] = {}
        for seat in self._roster.seats:
            others = [other.device for other in self._roster.seats if other is not seat and other.answers]
            place = seat.place(others, max(self._config.sampling.deadline_s, FIRST_READING_DEADLINE_S))
            if place is not None:
                found[seat.identity.index] = place
        return found

    def stuck_for(self) -> float:
        """For how long the GPU has been silent or lost that has been so longest; 0 while all answer.

        Lost ones count because NVML keeps the handles and the list it was opened with: a GPU that is well again after a
        reset may show only to a process that opens the driver afresh. A search for GPUs that hangs counts likewise.
        """
        now = self._clock()
        mute = [seat.mute_since for seat in self._roster.seats]
        return max((now - since for since in [*mute, self._node.busy_since] if since is not None), default=0.0)

    def rows(self) -> list[Gpu]:
        """The rows of the last sample, anew."""
        return self._frame().gpus

    def _make_reader(self, device: Device, identity: Identity) -> DeviceReader:
        return DeviceReader(
            device,
            identity,
            make_collectors(self._config.collectors.disable),
            left_out=left_out(self._config.collectors.disable),
            meter=self._meter,
            clock=self._clock,
            breadcrumbs=self._breadcrumbs,
            quarantined=[blame.collector for blame in self._quarantine if blame.gpu_slot == identity.index],
        )


def _ras_watch(config: Config, meter: Meter, clock: Callable[[], float]) -> "RasWatch":
    from gpuwatch_agent.sampling.ras_watch import RasWatch  # only who switched it on pays for it

    return RasWatch(config.attribution, meter, clock)


_NO_GPUS = Trouble(
    kind=NO_GPUS,
    message="The NVIDIA driver is there, but it lists no GPU.",
    action="Check that the boards are seated and powered (`lspci | grep -i nvidia`), that the container was given GPUs, "
    "and `dmesg | grep -i nvrm`.",
)
