"""The account that collectors are kept of."""

from gpuwatch_agent.sampling.meter import Meter


def test_a_round_succeeds_when_no_reading_in_it_failed() -> None:
    """Of eight GPUs one failure is enough to say so; the time of the last success stays until the next."""
    meter = Meter()
    tally = meter.tally("power", "fast")
    (before,) = meter.report(1.0)
    assert (before.succeeded, before.last_success_at) == (None, None)
    for _ in range(8):
        tally.ran(0.001)
    (well,) = meter.report(2.0)
    assert (well.succeeded, well.last_success_at) == (True, 2.0)
    tally.ran(0.001)
    tally.failed("no")
    (failed,) = meter.report(3.0)
    assert (failed.succeeded, failed.last_success_at, failed.failures) == (False, 2.0, 1)
    tally.ran(0.001)
    (again,) = meter.report(4.0)
    assert (again.succeeded, again.last_success_at) == (True, 4.0)


def test_a_collector_that_was_not_due_keeps_its_verdict() -> None:
    """Slow collectors run every tenth tick: in between nothing new is known of them."""
    meter = Meter()
    meter.tally("ecc", "slow").ran(0.001)
    meter.report(1.0)
    (later,) = meter.report(9.0)
    assert (later.succeeded, later.last_success_at) == (True, 1.0)
