"""A collective that hangs, told from ranks that spin for want of requests."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.tp_stalled import TpStalledDetector
from gpuwatch_agent.model.gpu import Gpu, NvLink, Xid
from support.ranks import ranks, spinning, with_bytes
from support.windows import START, Story

DETECTORS = [TpStalledDetector()]


@pytest.mark.parametrize("count", [2, 8])
def test_work_that_stops_in_a_spin_is_a_stall(count: int) -> None:
    """Thirty seconds of full utilisation, little power and no bytes, after work: critical, within 45 s."""
    told = Story(ranks(count), DETECTORS)
    assert told.passes(100) == []
    assert told.passes(28, spinning) == []
    (finding,) = told.passes(12, spinning)
    assert (finding.severity, finding.gpus) == ("critical", list(range(count)))
    assert told.passes(10) == []


def waiting(gpu: Gpu, second: int) -> Gpu:
    """An engine that spins for want of requests: it draws more than a board where all has stopped."""
    return structs.replace(spinning(gpu, second), power_w=210.0)


def test_ranks_that_spin_without_having_worked_wait_for_requests() -> None:
    """Engines that spin when idle are no stall."""
    assert Story(ranks(4), DETECTORS).passes(300, waiting) == []


def test_ranks_that_hang_from_the_start_are_told_by_their_power() -> None:
    """Full utilisation at hardly more than idle power is no waiting for requests; it takes longer, and is a warning."""
    told = Story(ranks(4), DETECTORS)
    assert told.passes(90, spinning) == []
    (finding,) = told.passes(15, spinning)
    assert (finding.severity, finding.gpus) == ("warning", [0, 1, 2, 3])
    assert "seems to hang" in finding.summary


def test_a_rank_that_is_not_read_has_not_left() -> None:
    """Nothing is known of it: an engine that waits for requests is not said to have lost it."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = structs.replace(waiting(gpu, second), power_w=300.0 if gpu.index else 210.0)
        return structs.replace(gpu, utilization_pct=None, power_w=None) if gpu.index == 3 else gpu

    told = Story(ranks(4), DETECTORS)
    told.passes(100, lambda gpu, _: structs.replace(gpu, power_w=690.0))
    assert told.passes(40, change) == []


def test_work_that_stops_at_full_tilt_with_the_power_of_waiting_is_a_warning() -> None:
    """It may be an engine without requests, so it takes twice as long and is not called critical."""
    told = Story(ranks(4), DETECTORS)
    told.passes(100)
    assert told.passes(58, waiting) == []
    (finding,) = told.passes(15, waiting)
    assert finding.severity == "warning"


def test_work_that_ebbs_away_and_ends_in_a_spin_is_want_of_requests() -> None:
    """A hang strikes in the middle of work; demand falls over some seconds."""
    told = Story(ranks(4), DETECTORS)
    told.passes(100)
    told.passes(20, lambda gpu, second: with_bytes(gpu, (120 - second) / 20))
    assert told.passes(300, waiting) == []


def test_a_group_that_has_spun_and_gone_on_before_is_given_as_long_again() -> None:
    """Who waits for a checkpoint or for requests every few minutes does not hang then."""
    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    told.passes(25, spinning)
    told.passes(60)
    assert told.passes(34, spinning) == []
    assert len(told.passes(20, spinning)) == 1


def test_work_is_no_stall_and_neither_is_idleness() -> None:
    """Bytes that flow, power of work, or an idle board each say that nothing hangs."""
    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    assert told.passes(50, lambda gpu, _: structs.replace(gpu, power_w=150.0)) == []
    assert told.passes(50, lambda gpu, s: structs.replace(spinning(gpu, s), power_w=600.0)) == []
    assert told.passes(50, lambda gpu, s: structs.replace(spinning(gpu, s), utilization_pct=0.0)) == []


def test_the_rank_that_left_is_the_culprit() -> None:
    """The others spin, it is idle."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = spinning(gpu, second)
        return structs.replace(gpu, utilization_pct=0.0, power_w=75.0) if gpu.index == 2 else gpu

    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    (finding,) = told.passes(45, change)
    assert finding.gpus == [2]
    assert finding.cause is not None
    assert "GPU 2 left the collective" in finding.cause


def test_a_lost_gpu_and_a_recent_xid_are_named() -> None:
    """What happened to a member shortly before is the likely cause."""

    def lost(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, state="lost") if gpu.index == 1 else spinning(gpu, second)

    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    (finding,) = told.passes(45, lost)
    assert finding.gpus == [1]
    assert "GPU 1 no longer answers" in finding.summary

    def hit(gpu: Gpu, second: int) -> Gpu:
        xids = [Xid(code=74, count=1, last_seen=START + 60)] if gpu.index == 3 else None
        return structs.replace(spinning(gpu, second), xids=xids)

    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    (finding,) = told.passes(45, hit)
    assert "GPU 3 reported Xid 74" in (finding.cause or "")


def test_without_counters_memory_traffic_must_do_and_it_takes_longer() -> None:
    """A minute instead of half of one."""
    told = Story(ranks(4, counters=False), DETECTORS)
    told.passes(100)
    assert told.passes(55, spinning) == []
    assert len(told.passes(15, spinning)) == 1


def test_gaps_are_no_proof() -> None:
    """Where bytes can't be read for most of the time nothing is said."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = spinning(gpu, second)
        return (
            gpu if second % 3 == 0 else structs.replace(gpu, utilization_pct=None, nvlink=NvLink(active=18, total=18))
        )

    told = Story(ranks(4), DETECTORS)
    told.passes(60)
    assert told.passes(60, change) == []


def test_a_layer_split_does_not_stall_as_a_group() -> None:
    """Its GPUs do not wait in collectives."""
    told = Story(ranks(2, split="layer"), DETECTORS)
    told.passes(60)
    assert told.passes(60, spinning) == []


def test_light_work_that_drew_no_more_than_the_spin_is_want_of_requests() -> None:
    """Bytes as ever until they end, but power that hardly falls: requests so few can simply end."""
    told = Story(ranks(4), DETECTORS)
    told.passes(100, lambda gpu, _: structs.replace(with_bytes(gpu, 0.05), power_w=220.0))
    assert told.passes(300, waiting) == []
