"""Xid events through the real binding's event sets."""

import threading

import pynvml as n
import pytest

from fake_nvml.fixtures import FakeNode
from fake_nvml.scenario import Scenario

WATCHER = """
events = n.nvmlEventSetCreate()
for index in range(n.nvmlDeviceGetCount()):
    n.nvmlDeviceRegisterEvents(n.nvmlDeviceGetHandleByIndex(index), n.nvmlEventTypeXidCriticalError, events)
while True:
    try:
        event = n.nvmlEventSetWait_v2(events, 50)
    except n.NVMLError_Timeout:
        break
    print(n.nvmlDeviceGetIndex(event.device), event.eventData)
"""


def test_every_process_is_told_each_xid_once(fake_node: FakeNode) -> None:
    """In order, with the GPU it happened on, then nothing but time-outs; the next process hears them too."""
    fake_node.become(Scenario.of("h100", 4).xid(2, 79).xid(0, 31))
    assert fake_node.python(WATCHER).stdout.split("\n")[:-1] == ["2 79", "0 31"]
    assert fake_node.python(WATCHER).stdout.split("\n")[:-1] == ["2 79", "0 31"]


def test_a_live_xid_is_only_told_to_who_was_listening(fake_node: FakeNode) -> None:
    """As with the real driver: what happened before registration is history."""
    fake_node.become(Scenario.of("h100").xid(0, 48, live_only=True))
    assert fake_node.python(WATCHER).stdout == ""


def test_a_waiting_thread_wakes_up_for_a_new_xid(nvml_here: FakeNode) -> None:
    """Long before its time-out, on the GPU's own handle."""
    scenario = nvml_here.become(Scenario.of("h100", 2))
    n.nvmlInit()
    events = n.nvmlEventSetCreate()
    handle = n.nvmlDeviceGetHandleByIndex(1)
    n.nvmlDeviceRegisterEvents(handle, n.nvmlEventTypeXidCriticalError, events)
    queue = threading.Timer(0.1, lambda: scenario.xid(0, 13).xid(1, 94, live_only=True).save())
    queue.start()
    event = n.nvmlEventSetWait(events, 10_000)
    queue.join()
    assert (event.eventType, event.eventData) == (n.nvmlEventTypeXidCriticalError, 94)
    assert n.nvmlDeviceGetUUID(event.device) == n.nvmlDeviceGetUUID(handle)
    n.nvmlEventSetFree(events)


def test_a_board_without_events_says_so(nvml_here: FakeNode) -> None:
    """Registration fails where nothing, or not that type, is supported."""
    scenario = Scenario.of("rtx4090", 2)
    scenario.gpu(1).without("event_types")
    nvml_here.become(scenario)
    n.nvmlInit()
    events = n.nvmlEventSetCreate()
    with pytest.raises(n.NVMLError_NotSupported):
        n.nvmlDeviceRegisterEvents(n.nvmlDeviceGetHandleByIndex(0), n.nvmlEventTypeDoubleBitEccError, events)
    with pytest.raises(n.NVMLError_NotSupported):
        n.nvmlDeviceRegisterEvents(n.nvmlDeviceGetHandleByIndex(1), n.nvmlEventTypeXidCriticalError, events)
    n.nvmlEventSetFree(events)
