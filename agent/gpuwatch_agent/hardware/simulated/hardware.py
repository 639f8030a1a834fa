"""Simulated machines: hardware as the agent sees it, without any."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gpuwatch_agent.hardware.base import Device, NodeFacts, ProcessFacts, XidEvent
from gpuwatch_agent.hardware.simulated.device import SimulatedDevice
from gpuwatch_agent.hardware.simulated.faults import FAULTS
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from gpuwatch_agent.hardware.simulated.node import Node
from gpuwatch_agent.hardware.simulated.processes import SimulatedProcess
from gpuwatch_agent.hardware.simulated.spec import GRAMMAR, Simulation, parse_spec


class SimulationInfo(Struct, frozen=True, kw_only=True):
    """One machine or fault by its name, in one sentence; `strength` says what `=NUMBER` means."""

    name: str
    description: str
    strength: str | None = None


class Simulations(Struct, frozen=True, kw_only=True):
    """Everything that can be simulated, and how to write it."""

    grammar: str
    machines: list[SimulationInfo]
    faults: list[SimulationInfo]


class JobPace(Struct, frozen=True, kw_only=True):
    """What a simulated job gets done, which no driver tells; `pace` is 1 when nothing holds it back."""

    name: str
    gpus: tuple[int, ...]
    pace: float
    tokens_per_s: float
    tokens: float


def describe_simulations() -> Simulations:
    """The machines and faults, for `gpuwatch sims`."""
    return Simulations(
        grammar=GRAMMAR,
        machines=[SimulationInfo(name=name, description=machine.description) for name, machine in MACHINES.items()],
        faults=[
            SimulationInfo(
                name=name,
                description=fault.description,
                strength=fault.strength.meaning if fault.strength is not None else None,
            )
            for name, fault in FAULTS.items()
        ],
    )


class SimulatedHardware:
    """A machine that behaves like the real one, by seed and clock alone.

    `clock` tells unix seconds. The machine begins at the clock's first reading in `open`, warm; opening again goes on
    from there, and so does another process that is given the same `opened_at`. Readings are independent of how often
    and in which order GPUs are asked.
    """

    def __init__(
        self, spec: str | Simulation, *, clock: Callable[[], float], seed: int = 0, opened_at: float | None = None
    ) -> None:
        """`spec` is a word as on the command line, or a machine made up elsewhere."""
        self.simulation = parse_spec(spec) if isinstance(spec, str) else spec
        self._node = Node(self.simulation, clock, seed)
        self._node.opened_at = opened_at
        self._devices: dict[tuple[int, int], SimulatedDevice] = {}

    def open(self) -> None:
        """Start up; raises `DriverUnavailableError` where a fault says so."""
        self._node.open()

    def close(self) -> None:
        """Stop; calls that hang are set free with a `DeviceError`."""
        self._node.close()

    @property
    def opened_at(self) -> float | None:
        """When the machine began, by the clock."""
        return self._node.opened_at

    def facts(self) -> NodeFacts:
        self._node.refuse_if_driver_fails()
        machine = self._node.machine
        return NodeFacts(driver_version=machine.driver_version, cuda_version=machine.cuda_version, simulated=True)

    def devices(self) -> list[Device]:
        """The GPUs on the driver's list; one that left it and came back is a new object."""
        found: list[Device] = []
        for index, generation in self._node.listed():
            key = (index, generation)
            if key not in self._devices:
                self._devices[key] = SimulatedDevice(self._node, index, generation)
            found.append(self._devices[key])
        return found

    def watch_xids(self, report: Callable[[XidEvent], None]) -> str | None:
        """Report Xids until close; from whichever thread asks something as their time comes, for the clock is not ours."""
        self._node.report = report
        return None

    def process_facts(self, pids: Sequence[int]) -> dict[int, ProcessFacts] | None:
        """What is known of these processes and all their ancestors; PIDs that are nobody's are left out."""
        node = self._node
        node.move_on()
        known: dict[int, SimulatedProcess] = {
            process.pid: process for process in (*node.processes, *node.intruders.values())
        }
        denied = {gpu for gpu, now in enumerate(node.running.conditions) if now.denied}
        opened_at = node.opened_at or 0.0
        found: dict[int, ProcessFacts] = {}
        for asked in pids:
            pid = asked
            while pid in known and pid not in found:
                process = known[pid]
                found[pid] = process.facts(
                    opened_at, opened_at + node.since_open_s(), visible=denied.isdisjoint(process.memory)
                )
                pid = process.ppid
        return found

    def jobs(self) -> list[JobPace]:
        """How fast the machine's jobs go: what later judgements are rehearsed against."""
        self._node.move_on()
        with self._node.lock:
            return [
                JobPace(
                    name=running.job.name,
                    gpus=running.job.gpus,
                    pace=running.pace,
                    tokens_per_s=running.tokens_per_s,
                    tokens=running.tokens + running.tokens_per_s * self._node.running.into_step_s,
                )
                for running in self._node.running.jobs
            ]
