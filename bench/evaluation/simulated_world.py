"""Plays simulated machines: the agent's own collectors read them, without the threads that real drivers need."""

import random
from collections.abc import Iterator, Sequence

from msgspec import structs

from evaluation.labels import Truth
from evaluation.machines import Rack
from evaluation.observed import capped_truths, clock_truths, heat_truths, imbalance_truths, losses, new_notes
from evaluation.recipes import Due, Recipe
from evaluation.sensors import Reader, Sensors
from gpuwatch_agent.attribution.attribute import attribute
from gpuwatch_agent.collectors.registry import make_collectors
from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Device, Placement, Tier
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.hardware.simulated.spec import Simulation
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.device_reader import DeviceReader, DeviceReport
from gpuwatch_agent.sampling.gpu_builder import build_gpu
from gpuwatch_agent.sampling.meter import Meter
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0
_STALE_AFTER_S = 3
_TAIL_S = 60.0
_EVENTS = frozenset({"xid", "ecc_uncorrected"})


class SimulatedWorld:
    """One machine with at most one fault, second by second."""

    def __init__(
        self, rack: Rack, recipe: Recipe | None, sensors: Sensors, seed: int, seconds: int, *, rested: bool = True
    ) -> None:
        self.seconds = seconds
        self.gpus = rack.machine.gpus
        self.config = Config(groups=rack.declared)
        self._rack = rack
        self._recipe = recipe
        self._seed = seed
        self._chance = random.Random(f"{seed}/sensors")
        self._reader = Reader(sensors, self._chance)
        self._now = NOON
        self._notes = new_notes([float(rack.machine.board.sm_clock_boost_mhz)] * rack.machine.gpus)
        self._uptime_s = 400_000.0 if rested else 20.0
        self._hardware = self._machine(recipe)
        self._meter = Meter()
        self._latest: Frame | None = None
        self._readers: dict[int, DeviceReader] = {}
        self._reports: dict[int, DeviceReport] = {}
        self._devices: Sequence[Device] = ()
        self._processes: dict[int, list[Process]] = {}

    def _machine(self, recipe: Recipe | None) -> SimulatedHardware:
        simulation = Simulation(
            name="exam", machine=self._rack.machine, overlays=recipe.overlays if recipe is not None else ()
        )
        return SimulatedHardware(simulation, clock=lambda: self._now, seed=self._seed)

    def play(self) -> Iterator[tuple[float, Frame]]:
        """See `World`; what the ledger remembers of lost GPUs and Xids is in the frames."""
        self._hardware.open()
        ledger = Ledger(lambda: self._now, lambda: self._now)
        ledger.watch_xids(self._hardware.watch_xids(ledger.note_xid))
        for second in range(self.seconds):
            self._now = NOON + second
            rows = self._rows(second)
            self._notes.note(rows, self._pace(self._hardware))
            if self._reader.is_silent(second):
                continue
            host = Host(uptime_s=self._uptime_s + second, cpu_count=64, cpu_pct=20.0, load_1m=9.0)
            frame = Frame(
                node="exam",
                taken_at=self._now,
                simulated=True,
                driver_version=self._rack.machine.driver_version,
                host=host,
                gpus=[self._reader.read(row, second) for row in rows],
            )
            self._latest = ledger.complete(frame)
            yield float(second), self._latest
        self._hardware.close()

    def _rows(self, second: int) -> list[Gpu]:
        tiers = [Tier.FAST]
        if second % 2 == 0:
            tiers.append(Tier.MEDIUM)
        if second % 10 == 0:
            tiers.append(Tier.SLOW)
            self._devices = self._hardware.devices()
        silent = self._silent(second)
        for device in self._devices:
            key = id(device)
            if key not in self._readers:
                self._readers[key] = DeviceReader(
                    device, device.identity(), make_collectors(), meter=self._meter, clock=lambda: self._now
                )
            if device.identity().index in silent:
                continue
            self._reports[key] = self._readers[key].read(tiers if key in self._reports else list(Tier))
        here = [report for device in self._devices if (report := self._reports.get(id(device))) is not None]
        if Tier.MEDIUM in tiers:
            self._attribute(here)
        rows = [self._row(report, silent) for report in here]
        rows += [_never_read(gpu) for gpu in silent if all(row.index != gpu for row in rows)]
        return sorted(rows, key=lambda row: row.index)

    def _silent(self, second: int) -> frozenset[int]:
        """GPUs of which the driver's calls do not return."""
        recipe = self._recipe
        if recipe is None or recipe.name != "hang" or not recipe.overlays[0].is_active(float(second)):
            return frozenset()
        return frozenset({recipe.gpu})

    def _attribute(self, reports: Sequence[DeviceReport]) -> None:
        listed = {
            report.identity.index: report.processes
            for report in reports
            if report.lost is None and report.processes is not None
        }
        pids = sorted({process.pid for processes in listed.values() for process in processes})
        self._processes = attribute(listed, self._hardware.process_facts(pids) or {})

    def _row(self, report: DeviceReport, silent: frozenset[int]) -> Gpu:
        index = report.identity.index
        age = self._now - report.read_at
        if report.lost is not None:
            return build_gpu(report.identity, report.collected.values(), state="lost", problem=str(report.lost))
        stale = index in silent and age > _STALE_AFTER_S
        return build_gpu(
            report.identity,
            report.collected.values(),
            state="stale" if stale else "ok",
            problem=f"The driver has not answered for {age:.0f} s." if stale else None,
            age_s=age,
            processes=self._processes.get(index),
        )

    def _pace(self, hardware: SimulatedHardware) -> float:
        """Of the group with the fault, or of the first."""
        gpu = self._recipe.gpu if self._recipe is not None else self._rack.groups[0][0]
        return next((job.pace for job in hardware.jobs() if gpu in job.gpus), 1.0)

    def topology(self) -> Topology | None:
        """See `World`."""
        if self._latest is None:
            return None
        machine = self._rack.machine
        everybody = range(machine.gpus)
        # Asked of the machine and not of its driver, which may never answer.
        places = {
            gpu: Placement(ancestors={other: machine.ancestor(gpu, other) for other in everybody if other != gpu})
            for gpu in everybody
        }
        return build_topology(self._latest.gpus, places, node="exam", taken_at=self._latest.taken_at, simulated=True)

    def truths(self) -> list[Truth]:
        """What was laid over it, and what came of it."""
        board = self._rack.machine.board
        fault = self._recipe.name if self._recipe is not None else "none"
        found = heat_truths(self._notes, [board.temperature_throttle_c] * self.gpus, fault)
        found += clock_truths(self._notes, self._rack.groups, fault)
        if self._recipe is not None:
            found += self._of_recipe(self._recipe)
        return found

    def _of_recipe(self, recipe: Recipe) -> list[Truth]:
        start = recipe.start_s or 0.0
        # What was counted before anybody looked is a total and no news, and a GPU without a name has no events.
        before = recipe.start_s is None and recipe.name in {"ecc", "hang"}
        group = frozenset(next(group for group in self._rack.groups if recipe.gpu in group))
        found = [
            self._due(
                recipe, structs.replace(due, required=False) if before and due.kind in _EVENTS else due, start, group
            )
            for due in recipe.dues
        ]
        if recipe.capped:
            found += capped_truths(self._notes, recipe.gpu, start, recipe.ends_s, recipe.name)
        if recipe.imbalance_causes is not None and len(group) > 1:

            def make(onset: float, cost: float, required: bool) -> Truth:
                return Truth(
                    kind="tp_imbalance",
                    gpus=frozenset({recipe.gpu}),
                    group=group,
                    causes=recipe.imbalance_causes or (),
                    starts_s=start,
                    onset_s=onset,
                    ends_s=recipe.ends_s + _TAIL_S if recipe.ends_s is not None else None,
                    cost=cost,
                    required=required,
                    fault=recipe.name,
                )

            lost = losses(self._notes.pace, self._best_paces())
            found += imbalance_truths(lost, make, start, recipe.ends_s)
        return found

    def _due(self, recipe: Recipe, due: Due, start: float, group: frozenset[int]) -> Truth:
        everybody = frozenset(range(self.gpus))
        gpus = group if due.whole_group else frozenset({recipe.gpu})
        peers = self._linked(recipe.gpu) if due.kind.startswith("nvlink") else frozenset()
        return Truth(
            kind=due.kind,
            gpus=gpus,
            group=everybody if due.whole_group else peers,
            causes=due.causes,
            starts_s=start,
            onset_s=start + due.after_s,
            ends_s=recipe.ends_s + _TAIL_S if recipe.ends_s is not None else None,
            required=due.required,
            least=due.least,
            fault=recipe.name,
        )

    def _linked(self, gpu: int) -> frozenset[int]:
        """The GPUs at the other ends of direct links."""
        links = self._rack.machine.links
        return frozenset(port.gpu for port in links[gpu] if port.gpu is not None) if links else frozenset()

    def _best_paces(self) -> list[float]:
        """The same seed without the fault."""
        twin = self._machine(None)
        self._now = NOON
        twin.open()
        paces = []
        for second in range(self.seconds):
            self._now = NOON + second
            paces.append(self._pace(twin))
        twin.close()
        return paces


def _never_read(gpu: int) -> Gpu:
    """A GPU that the driver lists, and about which it has not answered once."""
    problem = "The driver has not answered for a while, so far not once."
    return Gpu(index=gpu, uuid=f"unopened:{gpu}", state="stale", problem=problem)
