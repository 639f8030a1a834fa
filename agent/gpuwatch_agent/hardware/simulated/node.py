"""The machine under its GPUs: its clockwork behind a lock, and the driver that answers, is slow, or does not answer."""

import random
import threading
from collections.abc import Callable

from msgspec import Struct

from gpuwatch_agent.hardware.base import XidEvent
from gpuwatch_agent.hardware.simulated.clockwork import Clockwork, DueXid
from gpuwatch_agent.hardware.simulated.processes import SimulatedProcess, hex_id, intruder
from gpuwatch_agent.hardware.simulated.spec import Simulation
from gpuwatch_agent.model.errors import DeviceError, DriverUnavailableError, GpuLostError, GpuNeedsResetError

_LOOK_AGAIN_S = 0.2
_XID_DETAILS: dict[int, str] = {
    13: "Graphics Engine Exception",
    31: "MMU Fault",
    43: "Reset Channel Verif Error",
    45: "Preemptive Removal",
    48: "DBE (double bit error)",
    62: "Internal micro-controller halt",
    63: "Row remapper event: a row is marked for remapping",
    64: "Row remapper error: remapping failed",
    74: "NVLINK: error",
    79: "GPU has fallen off the bus.",
    94: "Contained memory error",
    95: "Uncontained memory error",
    119: "Timeout waiting for RPC from GSP!",
    154: "GPU recovery action changed to 0x1 (GPU Reset Required)",
}


class Birthmarks(Struct, frozen=True, kw_only=True):
    """What is one board's own: its ids, and what its counters stood at when the simulation began."""

    uuid: str
    serial: str
    energy_j: float
    throttle_s: dict[str, float]
    replays: int
    link_replays: tuple[int, ...]
    link_bytes: int
    pcie_tx_bytes: int
    pcie_rx_bytes: int
    corrected: int
    remapped: int
    mig_uuids: tuple[str, ...]


class Node:
    """One simulated machine, open or not."""

    def __init__(self, simulation: Simulation, clock: Callable[[], float], seed: int) -> None:
        self.simulation = simulation
        self.machine = simulation.machine
        self.seed = seed
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.opened_at: float | None = None
        self.report: Callable[[XidEvent], None] | None = None
        self._unreported: list[DueXid] = []
        self._clock = clock
        chance = random.Random(f"{seed}/{simulation.name}/identity")  # noqa: S311  # ids, not secrets
        self.birthmarks = [self._birthmarks(chance, gpu) for gpu in range(self.machine.gpus)]
        self.processes = list(self.machine.processes(chance))
        self.intruders: dict[int, SimulatedProcess] = {
            gpu: intruder(gpu, 1_900.0 if overlay.start_s is None else -overlay.start_s)
            for overlay in simulation.overlays
            if overlay.name == "noisy-neighbour"
            for gpu in overlay.gpus
        }
        self.clockwork: Clockwork | None = None

    @property
    def running(self) -> Clockwork:
        """The clockwork of an opened machine."""
        if self.clockwork is None:
            raise DriverUnavailableError("The simulated machine has not been opened.", "Call open() first.")
        return self.clockwork

    def open(self) -> None:
        """Start at the clock's first reading, or go on where an earlier opening left off."""
        if self.opened_at is None:
            self.opened_at = self._clock()
        self.closed.clear()
        self.refuse_if_driver_fails()
        with self.lock:
            if self.clockwork is None:
                self.clockwork = Clockwork(self.simulation, self.seed)

    def close(self) -> None:
        """Set free whoever waits for an answer."""
        self.closed.set()
        self.report = None

    def since_open_s(self) -> float:
        return self._clock() - (self.opened_at or 0.0)

    def refuse_if_driver_fails(self) -> None:
        """Faults of the whole driver."""
        since_open_s = self.since_open_s()
        for overlay in self.simulation.overlays:
            error = overlay.fault.driver_error
            if error is not None and overlay.is_active(since_open_s):
                raise error()

    def move_on(self) -> None:
        """Bring the clockwork to the present, and report the Xids that fell due."""
        if self.closed.is_set():
            raise DriverUnavailableError("The simulated machine was closed.", "Open it again.")
        self.refuse_if_driver_fails()
        running = self.running
        with self.lock:
            self._unreported += running.advance(self.since_open_s())
            report = self.report
            due = self._unreported if report is not None else []
            if due:
                self._unreported = []
        if report is not None:
            for xid in due:
                report(
                    XidEvent(
                        gpu=self.birthmarks[xid.gpu].uuid,
                        code=xid.code,
                        at=(self.opened_at or 0.0) + xid.at_s,
                        source="simulated",
                        detail=_XID_DETAILS.get(xid.code),
                    )
                )

    def answer(self, gpu: int, generation: int) -> threading.Lock:
        """Get past the driver's moods about one GPU; gives the lock to read under."""
        self.move_on()
        running = self.running
        now = running.conditions[gpu]
        while now.hangs:
            if self.closed.wait(_LOOK_AGAIN_S):
                raise DeviceError("The simulated machine was closed while a call hung.", "Open it again.")
            self.move_on()
            now = running.conditions[gpu]
        if now.slow_call_s and self.closed.wait(now.slow_call_s):
            raise DeviceError("The simulated machine was closed while a call was under way.", "Open it again.")
        if now.lost or generation != self.generation(gpu):
            raise GpuLostError
        if now.needs_reset:
            raise GpuNeedsResetError
        return self.lock

    def generation(self, gpu: int) -> int:
        """How often the GPU has come back: what was known of it before holds no more."""
        since_open_s = self.running.at_s
        return sum(
            gpu in overlay.gpus and overlay.end_s is not None and since_open_s >= overlay.end_s
            for overlay in self.simulation.overlays
            if overlay.fault.lasts_strength
        )

    def listed(self) -> list[tuple[int, int]]:
        """The GPUs on the driver's list now, with their generation."""
        self.move_on()
        conditions = self.running.conditions
        return [(gpu, self.generation(gpu)) for gpu in range(self.machine.gpus) if not conditions[gpu].off_the_list]

    def on_gpu(self, gpu: int) -> list[SimulatedProcess]:
        """All processes that hold memory there now."""
        found = [process for process in self.processes if gpu in process.memory]
        if self.running.conditions[gpu].foreign:
            found.append(self.intruders[gpu])
        return found

    def _birthmarks(self, chance: random.Random, gpu: int) -> Birthmarks:
        board = self.machine.board
        uptime_s = self.machine.uptime_s
        counted = dict.fromkeys(board.throttle_counters, 0.0)
        # Healthy boards have spent hours at their power limit, and resent a few packets when the link trained.
        counted["sw_power_cap"] = round(chance.uniform(900.0, 9_000.0), 3)
        links = len(self.machine.links[gpu]) if self.machine.links else board.nvlinks
        return Birthmarks(
            uuid=f"GPU-{hex_id(chance, 8, 4, 4, 4, 12)}",
            serial=f"165{chance.randrange(10**10):010d}",
            energy_j=uptime_s * board.power_limit_w * chance.uniform(0.45, 0.6),
            throttle_s=counted,
            replays=chance.choice((0, 0, 3, 12, 150)),
            link_replays=tuple(chance.choice((0, 0, 0, 0, 1, 4)) for _ in range(links)),
            link_bytes=int(uptime_s * 9e9 * chance.uniform(0.8, 1.2)),
            pcie_tx_bytes=int(uptime_s * 2e8 * chance.uniform(0.8, 1.2)),
            pcie_rx_bytes=int(uptime_s * 3e8 * chance.uniform(0.8, 1.2)),
            corrected=chance.choice((0, 0, 0, 2, 7)),
            remapped=chance.choice((0, 0, 0, 0, 1)),
            mig_uuids=tuple(f"MIG-{hex_id(chance, 8, 4, 4, 4, 12)}" for _ in self.machine.slices),
        )
