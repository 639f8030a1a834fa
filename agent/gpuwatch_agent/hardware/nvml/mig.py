"""MIG mode and the instances a GPU is cut into."""

from collections.abc import Callable

from gpuwatch_agent.hardware.base import MigState
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import NvmlError, Questions, nvml
from gpuwatch_agent.hardware.nvml.gpm import GpmReader
from gpuwatch_agent.hardware.nvml.links import text
from gpuwatch_agent.model.gpu import Mig, MigInstance


class MigReader:
    """Reads the mode every time: it changes, and the instances with it."""

    def __init__(self, handle: object, questions: Questions, clock: Callable[[], float]) -> None:
        self._handle = handle
        self._questions = questions
        self._clock = clock
        self._enabled: bool | None = None
        self._profiles: dict[int, GpmReader] = {}

    def read(self) -> MigState:
        reading = MigState()
        modes = self._questions.ask(reading, "mig", nvml.nvmlDeviceGetMigMode, self._handle)
        if modes is None:
            return reading
        enabled = bool(modes[0])
        if self._enabled is not None and enabled != self._enabled:
            # What a GPU can tell differs in MIG mode.
            self._questions.forget()
            self._profiles.clear()
        self._enabled = enabled
        reading.mig = Mig(
            enabled=enabled, pending=plausible.flag(modes[1]), instances=self._instances() if enabled else []
        )
        return reading

    def _instances(self) -> list[MigInstance]:
        scratch = MigState()
        slots = self._questions.ask(scratch, "slots", nvml.nvmlDeviceGetMaxMigDeviceCount, self._handle) or 0
        found: list[MigInstance] = []
        for slot in range(slots):
            try:
                instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, slot)
            except NvmlError as error:
                if error.value in {nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_INVALID_ARGUMENT}:
                    continue  # an empty slot
                break
            found.append(self._instance(slot, instance))
        return found

    def _instance(self, slot: int, handle: object) -> MigInstance:
        scratch = MigState()

        def ask(name: str, call: Callable[..., object]) -> object:
            # Keyed by slot: instances come and go, and their handles with them.
            return self._questions.ask(scratch, f"mig.{slot}.{name}", call, handle)

        gpu_instance = ask("gi", nvml.nvmlDeviceGetGpuInstanceId)
        compute_instance = ask("ci", nvml.nvmlDeviceGetComputeInstanceId)
        attributes = ask("attributes", nvml.nvmlDeviceGetAttributes_v2)
        memory = ask("memory", nvml.nvmlDeviceGetMemoryInfo)
        uuid = ask("uuid", nvml.nvmlDeviceGetUUID)
        name = ask("name", nvml.nvmlDeviceGetName)
        activity = None
        if isinstance(gpu_instance, int):
            reader = self._profiles.get(gpu_instance)
            if reader is None:
                reader = GpmReader(self._handle, self._questions, self._clock, gpu_instance)
                self._profiles[gpu_instance] = reader
            activity = reader.read(idle=False).sm_activity_pct
        return MigInstance(
            index=slot,
            uuid=text(uuid) if isinstance(uuid, str | bytes) else None,
            name=text(name) if isinstance(name, str | bytes) else None,
            gpu_instance=gpu_instance if isinstance(gpu_instance, int) else None,
            compute_instance=compute_instance if isinstance(compute_instance, int) else None,
            sm_count=getattr(attributes, "multiprocessorCount", None),
            memory_used_bytes=plausible.byte_count(getattr(memory, "used", None)),
            memory_total_bytes=plausible.byte_count(getattr(memory, "total", None)),
            sm_activity_pct=activity,
        )
