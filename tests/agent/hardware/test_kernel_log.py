"""Xids from the kernel log, for drivers and containers without NVML's events."""

import os
import queue
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwatch_agent.hardware.base import XidEvent
from gpuwatch_agent.hardware.nvml.xid_events import KernelLogWatch, parse_kernel_line

FALLEN = (
    "4,1234,98765432,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, "
    "GPU has fallen off the bus.\n SUBSYSTEM=pci\n"
)


def test_a_line_of_the_driver_is_understood() -> None:
    """Bus id, code and the driver's own words; what the kernel appends is not part of it."""
    event = parse_kernel_line(FALLEN, 5.0)
    assert event == XidEvent(
        gpu="0000:3b:00",
        code=79,
        at=5.0,
        source="kmsg",
        detail="pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    )


@pytest.mark.parametrize(
    "line",
    [
        "6,1,2,-;usb 1-1: new high-speed USB device",
        "4,1,2,-;NVRM: GPU at PCI:0000:3b:00: GPU-1234",
        "4,1,2,-;NVRM: Xid (PCI:0000:3b:00):",
        "",
    ],
)
def test_other_lines_are_no_xids(line: str) -> None:
    """Most of the log is about something else."""
    assert parse_kernel_line(line, 0.0) is None


@given(st.text())
def test_no_line_breaks_it(line: str) -> None:
    """The log holds whatever drivers write."""
    parse_kernel_line(line, 0.0)


def test_lines_are_followed_as_they_are_written(tmp_path: Path) -> None:
    """A reader thread reports each Xid, passes over the rest, and ends when told to."""
    log = tmp_path / "kmsg"
    os.mkfifo(log)
    writer = os.open(log, os.O_RDWR)
    seen: queue.Queue[XidEvent] = queue.Queue()
    watch = KernelLogWatch(str(log), lambda: 7.0)
    assert watch.start(seen.put) is None
    os.write(writer, b"6,1,2,-;usb 1-1: nothing of ours\n")
    # The kernel gives one record a read; a pipe may join two.
    os.write(writer, FALLEN.encode())
    assert seen.get(timeout=5).code == 79
    watch.stop()
    os.close(writer)
    assert seen.empty()


def test_a_log_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    """Without the right to read it, the reason is said."""
    assert "takes root or CAP_SYSLOG" in str(KernelLogWatch(str(tmp_path / "none"), lambda: 0.0).start(print))
