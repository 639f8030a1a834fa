"""A simulated machine moved on in steps of a fixed length, whoever asks and how often.

Steps are counted from the moment of opening, so that readings depend on the seed and the clock alone. Before that the
machine has been running for five minutes, in longer steps: it opens warm, with what ails it already showing.
"""

import math
import random

from msgspec import Struct

from gpuwatch_agent.hardware.simulated.conditions import Conditions
from gpuwatch_agent.hardware.simulated.physics import Gpu
from gpuwatch_agent.hardware.simulated.spec import Overlay, Simulation
from gpuwatch_agent.hardware.simulated.workload import Demand, RunningJob, Speed

STEP_S = 0.5
_WARM_UP: tuple[tuple[int, float], ...] = ((48, 5.0), (60, 1.0))
WARM_UP_S = sum(count * length for count, length in _WARM_UP)
# A clock read a hair before a step's boundary belongs to it.
_HAIR = 1e-6


class DueXid(Struct, frozen=True, order=True, gc=False):
    """An Xid that a fault brings, by the second after opening."""

    at_s: float
    gpu: int
    code: int


class Clockwork:
    """All of a machine's moving parts. Not thread-safe: whoever holds it, locks it."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        machine = simulation.machine
        self.simulation = simulation
        self._chance = random.Random(f"{seed}/{simulation.name}/air")  # noqa: S311  # weather, not secrets
        self.gpus = [Gpu(machine.board, inlet) for inlet in machine.inlet_c]
        self.demands = [Demand() for _ in self.gpus]
        self.speeds = [Speed() for _ in self.gpus]
        self.conditions = [Conditions() for _ in self.gpus]
        self.links_down: list[frozenset[int]] = [frozenset() for _ in self.gpus]
        self.jobs = [
            RunningJob(job, random.Random(f"{seed}/{simulation.name}/{job.name}"))  # noqa: S311
            for job in machine.jobs
        ]
        self._silicon = [0.985 + 0.03 * self._chance.random() for _ in self.gpus]
        self._overlays = [overlay for overlay in simulation.overlays if not overlay.fault.of_driver]
        self._active: tuple[Overlay, ...] | None = None
        self._due = sorted(_xids(self._overlays))
        self.at_s = -WARM_UP_S
        """When the present step began, in seconds after opening."""
        self._length_s = 0.0
        self.into_step_s = 0.0
        self._steps = 0
        for count, length_s in _WARM_UP:
            for _ in range(count):
                self._step(length_s)
        self._settle()
        self.at_s = 0.0
        self._begin(STEP_S)

    def advance(self, since_open_s: float) -> list[DueXid]:
        """Move on to this moment; gives the Xids that fell due on the way. A clock that jumped back holds it still."""
        wanted = math.floor(since_open_s / STEP_S + _HAIR)
        while self._steps < wanted:
            self._steps += 1
            self._settle()
            self.at_s = self._steps * STEP_S
            self._begin(STEP_S)
        into_step_s = min(STEP_S, max(0.0, since_open_s - self.at_s))
        if wanted == self._steps:
            self.into_step_s = max(self.into_step_s, into_step_s)
        if not self._due:
            return []
        now_s = self.at_s + self.into_step_s + _HAIR
        fallen = [due for due in self._due if due.at_s <= now_s]
        self._due = self._due[len(fallen) :]
        return fallen

    def _step(self, length_s: float) -> None:
        self._settle()
        self.at_s += self._length_s
        self._begin(length_s)

    def _settle(self) -> None:
        """Count what the present step has drawn and sent."""
        length_s = self._length_s
        if not length_s:
            return
        for gpu, demand, now in zip(self.gpus, self.demands, self.conditions, strict=True):
            gpu.integrate(length_s, demand, now)
        for running in self.jobs:
            running.tokens += running.tokens_per_s * length_s

    def _begin(self, length_s: float) -> None:
        """Find what holds for the next step."""
        self._length_s = length_s
        self.into_step_s = 0.0
        self._heed_faults()
        demands = self.demands
        for demand in demands:
            demand.clear()
        for running in self.jobs:
            running.step(self.at_s + WARM_UP_S, self.speeds, self.conditions, demands)
        chance = self._chance.random
        for index, gpu in enumerate(self.gpus):
            demand, now = demands[index], self.conditions[index]
            if now.foreign:
                _intrude(demand, now.foreign)
            demand.heat *= self._silicon[index] + 0.02 * chance()
            gpu.step(length_s, demand, now, self.speeds[index])

    def _heed_faults(self) -> None:
        """Lay the faults of this moment over the GPUs, where they are others than a moment ago."""
        active = tuple(overlay for overlay in self._overlays if overlay.is_active(self.at_s))
        if active == self._active:
            return
        self._active = active
        self.conditions = [Conditions() for _ in self.gpus]
        for overlay in active:
            apply = overlay.fault.apply
            if apply is not None:
                for index in overlay.gpus:
                    apply(self.conditions[index], overlay.strength)
        self._rate_links()
        for gpu, now in zip(self.gpus, self.conditions, strict=True):
            gpu.uncorrectable = max(gpu.uncorrectable, now.uncorrectable)

    def _rate_links(self) -> None:
        """A direct NVLink is down at both ends; a narrow or slow PCIe link carries less."""
        machine = self.simulation.machine
        down: list[set[int]] = [set(now.links_down) for now in self.conditions]
        for gpu, ports in enumerate(machine.links):
            for link in self.conditions[gpu].links_down:
                port = ports[link]
                if port.gpu is not None and port.link is not None:
                    down[port.gpu].add(port.link)
        self.links_down = [frozenset(links) for links in down]
        for index, (speed, now) in enumerate(zip(self.speeds, self.conditions, strict=True)):
            wired = len(machine.links[index]) if machine.links else 0
            speed.nvlink = 1.0 - len(down[index]) / wired if wired else 1.0
            width = min(now.pcie_width or machine.pcie_width, machine.pcie_width)
            generation = min(now.pcie_gen or machine.board.pcie_gen, machine.board.pcie_gen)
            speed.pcie = width / machine.pcie_width * 0.5 ** (machine.board.pcie_gen - generation)


def _intrude(demand: Demand, part: float) -> None:
    """Somebody else's program takes its part of the SMs and adds its own heat and traffic."""
    left = 1.0 - part
    demand.heat = demand.heat * left + 0.92 * part
    demand.sm = demand.sm * left + 0.9 * part
    demand.occupancy = demand.occupancy * left + 0.45 * part
    demand.tensor = demand.tensor * left + 0.4 * part
    demand.dram += 0.35 * part
    demand.memory_utilization += 0.3 * part
    demand.utilization = max(demand.utilization, min(1.0, part * 2.5))
    demand.pcie += 0.05e9


def _xids(overlays: list[Overlay]) -> list[DueXid]:
    found = []
    for overlay in overlays:
        code = overlay.fault.xid
        if code is None:
            continue
        number = int(overlay.strength) if code == "strength" else code
        found += [DueXid(overlay.start_s or 0.0, gpu, number) for gpu in overlay.gpus]
    return found
