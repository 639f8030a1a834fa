"""All GPUs of this machine through NVML."""

import time
from collections.abc import Callable, Sequence

from gpuwatch_agent.hardware.base import Device, NodeFacts, ProcessFacts, RawReading, XidEvent
from gpuwatch_agent.hardware.nvml.binding import NvmlError, Questions, judge, nvml, opening_error
from gpuwatch_agent.hardware.nvml.device import NvmlDevice
from gpuwatch_agent.hardware.nvml.unopened import UnopenedDevice
from gpuwatch_agent.hardware.nvml.xid_events import EventWatch, KernelLogWatch, address_of
from gpuwatch_agent.model.errors import DeviceError


class NvmlHardware:
    """NVML, initialised once; handles are kept."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        kernel_log: str = "/dev/kmsg",
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._kernel_log = kernel_log
        self._devices: dict[str, NvmlDevice] = {}
        self._unopened: dict[int, UnopenedDevice] = {}
        self._watch: EventWatch | KernelLogWatch | None = None

    def open(self) -> None:
        try:
            nvml.nvmlInit()
        except NvmlError as error:
            raise opening_error(error.value) from None

    def close(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        if isinstance(self._watch, EventWatch):
            return  # its thread is inside the driver, which must not be pulled away from under it: it ends with the process
        try:
            nvml.nvmlShutdown()
        except NvmlError:
            return  # nothing was open, or the driver went first

    def facts(self) -> NodeFacts:
        questions, scratch = Questions(self._clock), RawReading()
        driver = questions.ask(scratch, "driver_version", nvml.nvmlSystemGetDriverVersion)
        cuda = questions.ask(scratch, "cuda_version", nvml.nvmlSystemGetCudaDriverVersion_v2)
        return NodeFacts(
            driver_version=driver,
            cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        )

    def devices(self) -> list[Device]:
        try:
            total = nvml.nvmlDeviceGetCount()
        except NvmlError as error:
            judge(error.value)
            raise opening_error(error.value) from None
        found: list[Device] = []
        for index in range(total):
            try:
                found.append(self._device(index))
            except DeviceError as error:
                # One that was open before says itself that it is lost; one that never was gets a row with the reason.
                known = next((device for device in self._devices.values() if device.index == index), None)
                found.append(known or self._unopened.setdefault(index, UnopenedDevice(index, error)))
        return found

    def _device(self, index: int) -> NvmlDevice:
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = nvml.nvmlDeviceGetUUID(handle)
        except NvmlError as error:
            judge(error.value)
            raise DeviceError(
                f"The driver lists this GPU but does not let it be opened: {error}.",
                "Check the permissions of its file in /dev (`ls -l /dev/nvidia*`) and `dmesg | grep -i nvrm`.",
            ) from None
        known = self._devices.get(uuid)
        self._unopened.pop(index, None)
        if known is None or known.index != index or address_of(known.handle) != address_of(handle):
            known = self._devices[uuid] = NvmlDevice(index, uuid, handle, self._clock)
        return known

    def watch_xids(self, report: Callable[[XidEvent], None]) -> str | None:
        handles = {uuid: device.handle for uuid, device in self._devices.items()}
        events = EventWatch(handles, self._wall_clock)
        no_events = events.start(report)
        if no_events is None:
            self._watch = events
            return None
        if not self._kernel_log:
            return f"Xids are not seen: {no_events}, and reading the kernel log is switched off."
        log = KernelLogWatch(self._kernel_log, self._wall_clock)
        no_log = log.start(report)
        if no_log is None:
            self._watch = log
            return None
        return f"Xids are not seen: {no_events}, and {no_log}."

    def process_facts(self, pids: Sequence[int]) -> dict[int, ProcessFacts] | None:  # noqa: ARG002  # real ones are in /proc
        return None
