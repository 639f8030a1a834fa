"""The GPUs under watch, each with its reader, its worker and what it said last."""

from collections.abc import Callable, Sequence
from functools import partial

from gpuwatch_agent.hardware.base import Device, GpuProcess, Identity, Placement, Tier
from gpuwatch_agent.model.errors import DeviceError
from gpuwatch_agent.model.gpu import Gpu, GpuState
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.sampling.device_reader import DeviceReader, DeviceReport
from gpuwatch_agent.sampling.gpu_builder import build_gpu
from gpuwatch_agent.sampling.meter import Meter
from gpuwatch_agent.sampling.worker import Worker

UNOPENED = "unopened:"
ReaderFactory = Callable[[Device, Identity], DeviceReader]


class Seat:
    """One GPU's place in the roster; it keeps it when the GPU is gone."""

    def __init__(self, index: int, device: Device, make_reader: ReaderFactory, clock: Callable[[], float]) -> None:
        self.device = device
        self.identity = Identity(index=index, uuid=f"{UNOPENED}{index}")
        self.report: DeviceReport | None = None
        self.gone = False
        self.seated_at = clock()
        self.answered_at: float | None = None
        self.due: dict[Tier, float] = {}
        self.owed: set[Tier] = set()
        self.reader = make_reader(device, self.identity)
        self.worker: Worker[DeviceReport | Placement] = Worker(f"gpu-{index}", clock)

    @property
    def stuck_since(self) -> float | None:
        return self.worker.busy_since

    @property
    def answers(self) -> bool:
        """Whether it may be asked something, or another GPU about it: the question alone can hang or fail."""
        return not self.gone and self.stuck_since is None and not (self.report is not None and self.report.lost)

    @property
    def mute_since(self) -> float | None:
        """Since when it says nothing of itself, because its driver call hangs or because it is lost."""
        if self.stuck_since is not None:
            return self.stuck_since
        lost = self.gone or (self.report is not None and self.report.lost is not None)
        if not lost:
            return None
        return self.answered_at if self.answered_at is not None else self.seated_at

    def begin(self, tiers: Sequence[Tier]) -> bool:
        """Ask for a reading; a GPU that still owes the one before is left alone and asked for both later."""
        self.owed.update(tiers)
        if self.worker.busy_since is not None:
            return False
        wanted = [tier for tier in Tier if tier in self.owed]
        self.owed.clear()
        self.worker.start(partial(self.reader.read, wanted))
        return True

    def take(self, wait_s: float) -> bool:
        """Take the reading in if it has come; raises only what concerns the whole driver."""
        if self.worker.busy_since is None:
            return False
        report = self.worker.answer(wait_s)
        if not isinstance(report, DeviceReport):
            return False  # nothing yet, or where the GPU sits, told too late to matter
        self.report = report
        self.identity = report.identity
        if report.lost is None:
            self.answered_at = report.read_at
        return True

    def place(self, others: Sequence[Device], wait_s: float) -> Placement | None:
        """Where the GPU sits, asked on its own thread."""
        if not self.answers:
            return None
        self.worker.start(partial(self.device.placement, others))
        try:
            answer = self.worker.answer(wait_s)
        except DeviceError:
            return None  # its row says why
        return answer if isinstance(answer, Placement) else None

    def row(self, now: float, stale_after_s: float, processes: list[Process] | None) -> Gpu:
        """The GPU as it is known at this moment: its last values, and how old they are."""
        report = self.report
        state, problem = self._state(now, stale_after_s)
        answered = self.answered_at
        return build_gpu(
            self.identity,
            report.collected.values() if report is not None else (),
            state=state,
            problem=problem,
            age_s=round(now - answered, 3) if answered is not None else None,
            processes=processes if report is not None and report.processes is not None else None,
        )

    def _state(self, now: float, stale_after_s: float) -> tuple[GpuState, str | None]:
        lost = self.report.lost if self.report is not None else None
        if lost is not None:
            return "lost", str(lost)
        silent_for = now - (self.answered_at if self.answered_at is not None else self.seated_at)
        if silent_for <= stale_after_s and self.report is not None:
            return "ok", None
        doing = self.reader.at_work
        where = f" while reading {doing}" if doing else ""
        known = ": the values are the last that were read" if self.answered_at is not None else ", so far not once"
        problem = (
            f"The driver has not answered for {silent_for:.0f} s{where}{known}. "
            "If it lasts, look for Xids in `dmesg`; other GPUs are read on."
        )
        return "stale", problem


class Roster:
    """All seats, in the driver's order, those of vanished GPUs last."""

    def __init__(self, make_reader: ReaderFactory, meter: Meter, clock: Callable[[], float]) -> None:
        self._make_reader = make_reader
        self._meter = meter
        self._clock = clock
        self.seats: list[Seat] = []

    def update(self, devices: Sequence[Device]) -> bool:
        """Take in the list of GPUs as it is now; tells whether it has changed."""
        before = {id(seat.device): seat for seat in self.seats}
        present: list[Seat] = []
        changed = False
        for index, device in enumerate(devices):
            seat = before.pop(id(device), None)
            if seat is None:
                seat = Seat(index, device, self._make_reader, self._clock)
                changed = True
            elif seat.gone:
                seat.gone = False
                changed = True
            present.append(seat)
        for seat in before.values():
            changed = changed or not seat.gone
            seat.gone = True
        self.seats = present + list(before.values())
        return changed

    def drop_doubles(self) -> None:
        """A GPU that came back under another number has its old seat cleared."""
        present = {seat.identity.uuid for seat in self.seats if not seat.gone}
        # One that never said who it was leaves no trace: under its name it has a seat of its own by now.
        doubles = [
            seat
            for seat in self.seats
            if seat.gone and (seat.identity.uuid in present or seat.identity.uuid.startswith(UNOPENED))
        ]
        for seat in doubles:
            seat.worker.stop()
            self.seats.remove(seat)

    def listed(self) -> dict[int, list[GpuProcess]]:
        """The driver's process lists by GPU index."""
        return {
            seat.identity.index: seat.report.processes
            for seat in self.seats
            if seat.report is not None and seat.report.processes is not None and seat.report.lost is None
        }
