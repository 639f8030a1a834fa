"""Xids as they happen: from NVML's event set, or from the kernel log where events are not to be had."""

import contextlib
import os
import re
import select
import threading
from collections.abc import Callable, Mapping

from gpuwatch_agent.hardware.base import XidEvent
from gpuwatch_agent.hardware.nvml.binding import NvmlError, nvml

Report = Callable[[XidEvent], None]

_WAIT_MS = 1000
_XID = nvml.nvmlEventTypeXidCriticalError
# NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen off the bus.
_KERNEL_LINE = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)(?:, )?(.*)")


class EventWatch:
    """Waits for NVML's Xid events on a thread of its own."""

    def __init__(self, handles: Mapping[str, object], clock: Callable[[], float]) -> None:
        self._handles = handles
        self._clock = clock
        self._stop = threading.Event()
        self._uuid_of: dict[int | None, str] = {}

    def start(self, report: Report) -> str | None:
        """Begin; gives the reason in words where events can't be had."""
        try:
            events = nvml.nvmlEventSetCreate()
            for uuid, handle in self._handles.items():
                try:
                    nvml.nvmlDeviceRegisterEvents(handle, _XID, events)
                except NvmlError:
                    continue  # this board has no events; the others may
                self._uuid_of[address_of(handle)] = uuid
        except NvmlError as error:
            return f"NVML events are not available ({error})"
        if not self._uuid_of:
            return "no GPU here reports events"
        threading.Thread(target=self._wait, args=(events, report), name="xid-events", daemon=True).start()
        return None

    def stop(self) -> None:
        self._stop.set()

    def _wait(self, events: object, report: Report) -> None:
        while not self._stop.is_set():
            try:
                event = nvml.nvmlEventSetWait_v2(events, _WAIT_MS)
            except NvmlError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:
                    # A lost GPU makes every wait return at once: don't spin.
                    self._stop.wait(_WAIT_MS / 1000)
                continue
            uuid = self._uuid_of.get(address_of(event.device))
            if uuid is not None and event.eventType & _XID:
                report(XidEvent(gpu=uuid, code=int(event.eventData), at=self._clock(), source="nvml"))
        try:
            nvml.nvmlEventSetFree(events)
        except NvmlError:
            return  # shutting down: the driver frees it with the process


def address_of(handle: object) -> int | None:
    """What a handle points to: two handles of one GPU are equal in this."""
    address: int | None = nvml.cast(handle, nvml.c_void_p).value
    return address


class KernelLogWatch:
    """Reads Xid lines from /dev/kmsg as the kernel writes them."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._wake: tuple[int, int] | None = None

    def start(self, report: Report) -> str | None:
        """Begin at the log's end; gives the reason in words where the log can't be read."""
        if not self._path:
            return "the kernel log is left alone (hardware.kmsg in the configuration)"
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            with contextlib.suppress(OSError):  # a pipe has no end to seek to, and no past either
                os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            return f"{self._path} can't be read ({error.strerror}): it takes root or CAP_SYSLOG"
        self._wake = os.pipe()
        threading.Thread(target=self._follow, args=(report,), name="xid-kmsg", daemon=True).start()
        return None

    def stop(self) -> None:
        if self._wake is not None:
            os.close(self._wake[1])
            self._wake = None

    def _follow(self, report: Report) -> None:
        assert self._file is not None and self._wake is not None  # noqa: S101, PT018  # start() made both
        wake = self._wake[0]
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        poll.register(wake, select.POLLHUP)
        while True:
            ready = dict(poll.poll())
            if wake in ready:
                break
            try:
                record = os.read(self._file, 8192)
            except BrokenPipeError:
                continue  # the ring was overrun: the next read continues behind the gap
            except OSError:
                break
            if not record:
                break
            event = parse_kernel_line(record.decode("utf-8", "replace"), self._clock())
            if event is not None:
                report(event)
        os.close(self._file)
        os.close(wake)


def parse_kernel_line(line: str, at: float) -> XidEvent | None:
    """The Xid a kernel log line tells of, if it tells of one."""
    found = _KERNEL_LINE.search(line)
    if found is None:
        return None
    return XidEvent(
        gpu=found.group(1),
        code=int(found.group(2)),
        at=at,
        source="kmsg",
        detail=found.group(3).split("\n")[0].strip() or None,
    )
