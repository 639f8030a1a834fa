"""NCCL is asked now and then, beside the sampling."""

import socket

from gpuwatch_agent.config import AttributionSection
from gpuwatch_agent.sampling.meter import Meter
from gpuwatch_agent.sampling.ras_watch import RasWatch
from support.ras_server import TEXT, answer, communicator, rank, serving
from support.reading import SettableClock

PAIR = answer(communicator([rank(0, 100, 0), rank(1, 101, 1)]))


def watching(address: str, clock: SettableClock) -> tuple[RasWatch, Meter]:
    meter = Meter()
    return RasWatch(AttributionSection(nccl_ras=True, nccl_ras_address=address), meter, clock), meter


def test_asks_once_a_minute_and_remembers() -> None:
    """What was heard is there at once; the service is left in peace between."""
    clock = SettableClock()
    with serving(PAIR) as server:
        watch, _ = watching(server.address, clock)
        for second in range(125):
            clock.now = 1000.0 + second
            watch.communicators()
            watch.take(10)
            assert [one.size for one in watch.communicators()] == [2]
        watch.stop()
    assert server.said.count("STATUS") == 3


def test_nothing_waits_for_a_service_that_is_silent() -> None:
    """The answer that has not come is no reason to wait, nor to ask a second time."""
    clock = SettableClock()
    with serving(PAIR) as server:
        server.silent_at = "STATUS"
        watch, _ = watching(server.address, clock)
        for second in range(0, 600, 30):
            clock.now = 1000.0 + second
            assert watch.communicators() == []
        watch.stop()
    assert server.said.count("CLIENT PROTOCOL 2") <= 1


def test_why_nothing_is_heard_is_in_the_account() -> None:
    """An NCCL too old for it is named; a machine without any NCCL job is no failure."""
    clock = SettableClock()
    with serving(TEXT, json=False) as server:
        watch, meter = watching(server.address, clock)
        watch.communicators()
        watch.take(10)
        watch.stop()
    (cost,) = meter.report(0.0)
    assert (cost.name, cost.failures) == ("nccl_ras", 1)
    assert "text only" in (cost.last_error or "")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    watch, meter = watching(f"127.0.0.1:{port}", clock)
    watch.communicators()
    watch.take(10)
    watch.stop()
    assert [(cost.runs, cost.failures) for cost in meter.report(0.0)] == [(1, 0)]
