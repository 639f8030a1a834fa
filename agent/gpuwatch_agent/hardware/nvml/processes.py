"""The processes a GPU holds, as the driver lists them."""

from typing import Any

from gpuwatch_agent.hardware.base import GpuProcess, Processes
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import NvmlError, Questions, nvml
from gpuwatch_agent.model.absence import Absence

# Newest first: an old driver lacks the later forms.
_LISTS = {
    "compute": (nvml.nvmlDeviceGetComputeRunningProcesses_v3, nvml.nvmlDeviceGetComputeRunningProcesses_v2),
    "graphics": (nvml.nvmlDeviceGetGraphicsRunningProcesses_v3, nvml.nvmlDeviceGetGraphicsRunningProcesses_v2),
    "mps": (nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, nvml.nvmlDeviceGetMPSComputeRunningProcesses_v2),
}
_NO_INSTANCE = 0xFFFFFFFF


class ProcessReader:
    """Lists one GPU's processes; their SM share is the driver's, over the time since the last call."""

    def __init__(self, handle: object, questions: Questions) -> None:
        self._handle = handle
        self._questions = questions
        self._seen_until = 0

    def read(self) -> Processes:
        reading = Processes()
        listed: list[GpuProcess] = []
        without_compute: Absence | None = None
        for kind, calls in _LISTS.items():
            rows = None
            for call in calls:
                rows = self._questions.ask(reading, f"processes.{kind}", call, self._handle)
                if rows is not None:
                    reading.absent.pop(f"processes.{kind}", None)
                    break
            if kind == "compute" and rows is None:
                without_compute = reading.absent["processes.compute"]
            listed += [self._row(kind, row) for row in rows or ()]
        if without_compute is not None and not listed:
            # The other lists are empty on most machines: that nothing computes here, they do not say.
            return Processes(absent={"processes": without_compute})
        self._add_sm_share(listed)
        return Processes(processes=listed)

    def _row(self, kind: str, row: Any) -> GpuProcess:
        instance = getattr(row, "gpuInstanceId", _NO_INSTANCE)
        return GpuProcess(
            pid=row.pid,
            kind=kind,
            memory_bytes=plausible.byte_count(row.usedGpuMemory),
            gpu_instance=None if instance == _NO_INSTANCE else instance,
        )

    def _add_sm_share(self, listed: list[GpuProcess]) -> None:
        if not listed:
            return
        samples = self._questions.ask(Processes(), "sm_pct", _utilization_samples, self._handle, self._seen_until)
        newest: dict[int, Any] = {}
        for sample in samples or ():
            before = newest.get(sample.pid)
            if before is None or sample.timeStamp > before.timeStamp:
                newest[sample.pid] = sample
            self._seen_until = max(self._seen_until, sample.timeStamp)
        if samples is None:
            return
        for process in listed:
            found = newest.get(process.pid)
            if found is not None:
                process.sm_pct = plausible.percentage(found.smUtil)


def _utilization_samples(handle: object, since: int) -> list[Any]:
    """Samples since a time; "none" is an answer, though the binding raises it (success, or not found)."""
    try:
        return list(nvml.nvmlDeviceGetProcessUtilization(handle, since))
    except NvmlError as error:
        if error.value in {nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND}:
            return []
        raise
