"""The world that the fake driver shows: written as one file, swapped atomically, re-read by running processes."""

from __future__ import annotations

import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fake_nvml.boards import BOARDS
from fake_nvml.gpu import Gpu
from fake_nvml.healthy import healthy_gpu
from fake_nvml.values import Settable, Value, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCES = Path(__file__).parent / "c"

NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
UNKNOWN = 999

XID_EVENT = 0x8


def exported_functions() -> frozenset[str]:
    """Every NVML function that the fake knows, read from its sources."""
    text = "".join(source.read_text() for source in sorted(SOURCES.glob("*.c")))
    plain = re.findall(r"^API [\w *]*?\b(nvml\w+)\(", text, re.MULTILINE)
    made_by_macro = re.findall(r"^(?:GET|LIST)_\w+\((nvml\w+),", text, re.MULTILINE)
    return frozenset(plain + made_by_macro)


@dataclass(frozen=True)
class Fault:
    """Something bad that calls of a function (a glob) meet, on one GPU or on all."""

    fault_id: int
    function: str
    uuid: str | None
    action: str
    argument: int
    from_call: int
    times: int
    after_s: float

    def line(self) -> str:
        """The fault in the scenario file."""
        return (
            f"fault {self.fault_id} {self.function} {self.uuid or '*'} {self.action} {self.argument} "
            f"{self.from_call} {self.times} {self.after_s!r}"
        )


@dataclass
class Scenario:
    """A node; every method gives the scenario back, and `save` makes running processes see it."""

    gpus: list[Gpu] = field(default_factory=list)
    system: dict[str, Value] = field(default_factory=dict)
    path: Path | None = None
    _removed: dict[int, Gpu] = field(default_factory=dict)
    _faults: list[Fault] = field(default_factory=list)
    _events: list[str] = field(default_factory=list)
    _next_fault: int = 1

    @classmethod
    def of(cls, board: str, count: int = 1) -> Scenario:
        """A healthy node of boards at work: "h100", "a100", "v100", "t4" or "rtx4090"."""
        now = time.time()
        scenario = cls([healthy_gpu(BOARDS[board], slot, count, now) for slot in range(count)])
        scenario.says("driver_version", "580.105.08").says("nvml_version", "13.580.105.08")
        scenario.says("cuda_version", 13000)
        return scenario.says("pcie_throughput_ms", 20).says("driver_generation", 1)._is_another()

    def _is_another(self) -> Scenario:
        """A process that meets this scenario after another starts counting calls and events afresh."""
        return self.says("machine", secrets.randbits(63))

    def says(self, key: str, given: Settable) -> Scenario:
        """What the driver says of itself: driver_version, nvml_version, cuda_version."""
        self.system[key] = value_of(given)
        return self

    def gpu(self, slot: int) -> Gpu:
        """The board in a slot, also while it is out of the driver's list."""
        return next(gpu for gpu in [*self.gpus, *self._removed.values()] if gpu.slot == slot)

    def each(self) -> Iterable[Gpu]:
        """All boards in the driver's list."""
        return iter(self.gpus)

    # Faults

    def _fault(
        self, function: str, gpu: int | None, action: str, argument: int, when: tuple[float, int, int]
    ) -> Scenario:
        if not _matches_a_function(function):
            raise ValueError(f"the fake driver has no function {function}: see the API lines in {SOURCES}")
        after_s, from_call, times = when
        uuid = None if gpu is None else self.gpu(gpu).uuid
        self._faults.append(Fault(self._next_fault, function, uuid, action, argument, from_call, times, after_s))
        self._next_fault += 1
        return self

    def fail(
        self,
        function: str,
        code: int,
        *,
        gpu: int | None = None,
        after_s: float = 0,
        from_call: int = 1,
        times: int = 0,
    ) -> Scenario:
        """Calls of the function (a glob: `nvmlDeviceGetFan*`, `*`) answer the code; `times` 0 is for ever."""
        return self._fault(function, gpu, "error", code, (after_s, from_call, times))

    def delay(
        self, function: str, ms: int, *, gpu: int | None = None, after_s: float = 0, from_call: int = 1, times: int = 0
    ) -> Scenario:
        """Calls take that much longer, then go on as if nothing were."""
        return self._fault(function, gpu, "delay", ms, (after_s, from_call, times))

    def hang(
        self, function: str, *, gpu: int | None = None, after_s: float = 0, from_call: int = 1, times: int = 0
    ) -> Scenario:
        """Calls never return."""
        return self._fault(function, gpu, "hang", 0, (after_s, from_call, times))

    def crash(
        self, function: str, *, gpu: int | None = None, after_s: float = 0, from_call: int = 1, times: int = 0
    ) -> Scenario:
        """Calls kill the process with SIGSEGV."""
        return self._fault(function, gpu, "crash", 0, (after_s, from_call, times))

    def lose(self, gpu: int, *, after_s: float = 0, code: int = GPU_IS_LOST) -> Scenario:
        """Fallen off the bus: still counted, but every call on it and its instances answers "lost"."""
        self.fail("*", code, gpu=gpu, after_s=after_s)
        last = self._faults[-1]
        for instance in self.gpu(gpu).instances:
            self._faults.append(Fault(last.fault_id, "*", instance.uuid, "error", code, 1, 0, after_s))
        return self

    def require_reset(self, gpu: int, *, after_s: float = 0) -> Scenario:
        """Every call on it answers "reset required"."""
        return self.lose(gpu, after_s=after_s, code=RESET_REQUIRED)

    def fail_init(self, code: int, *, times: int = 0) -> Scenario:
        """The driver can't be reached: 9 not loaded, 18 library mismatch, 4 no permission, 999 unknown."""
        return self.fail("nvmlInit*", code, times=times)

    def heal(self, function: str | None = None, *, gpu: int | None = None) -> Scenario:
        """Takes faults away: all, those of a function, those of a GPU."""
        uuids = None if gpu is None else {self.gpu(gpu).uuid, *(one.uuid for one in self.gpu(gpu).instances)}
        self._faults = [
            fault
            for fault in self._faults
            if (function is not None and fault.function != function) or (uuids is not None and fault.uuid not in uuids)
        ]
        return self

    def remove(self, gpu: int) -> Scenario:
        """Out of the driver's list: the boards behind it move up an index, its old handles are lost."""
        self._removed[gpu] = self.gpu(gpu)
        self.gpus = [other for other in self.gpus if other.slot != gpu]
        return self

    def put_back(self, gpu: int) -> Scenario:
        """Back in the list, at its old place."""
        self.gpus = sorted([*self.gpus, self._removed.pop(gpu)], key=lambda one: one.slot)
        return self

    def upgrade_driver(self, version: str) -> Scenario:
        """Another driver is loaded: processes that met the old one get "mismatch" from every call, new ones work."""
        generation = self.system["driver_generation"].base
        return self.says("driver_version", version).says("driver_generation", int(generation) + 1)

    def crash_on_shared_gpm(self) -> Scenario:
        """As the real library has done: two threads inside GPM at once take the process down."""
        return self.says("gpm_crashes_when_shared", 1)

    def xid(self, gpu: int, code: int, *, event_type: int = XID_EVENT, live_only: bool = False) -> Scenario:
        """An Xid; each process is told once. `live_only`: only those that had registered before it."""
        uuid = self.gpu(gpu).uuid
        self._events.append(f"event {len(self._events) + 1} {uuid} {event_type} {code} {int(live_only)}")
        return self

    # The file

    def text(self) -> str:
        """The scenario file."""
        lines = [f"{key} {value.line()}" for key, value in self.system.items()]
        lines += [fault.line() for fault in self._faults]
        lines += self._events
        for index, gpu in enumerate(self.gpus):
            lines += [f"gpu {index}", *gpu.lines()]
            for number, instance in enumerate(gpu.instances):
                lines += [f"mig {number}", *instance.lines()]
        return "\n".join(lines) + "\n"

    def save(self, path: Path | None = None) -> Scenario:
        """Write the file in one step, so that no process ever reads half of it."""
        self.path = path or self.path
        if self.path is None:
            raise ValueError("say where to save the scenario the first time")
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        fresh.write_text(self.text())
        fresh.replace(self.path)
        return self

    def environment(self, library: Path) -> dict[str, str]:
        """What a process needs to meet this scenario through the real binding."""
        if self.path is None:
            raise ValueError("save the scenario first")
        return {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_SCENARIO": str(self.path)}


def _matches_a_function(pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(function, pattern) for function in exported_functions())
