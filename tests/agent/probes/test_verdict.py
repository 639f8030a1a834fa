"""One sentence from the figures: other machines, this node's past, the ranks beside each other."""

import pytest
from msgspec import structs

from gpuwatch_agent.probes.expectations import FABRICS, expected_busbw, table
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, RankTimes, bandwidths, outcome_of, peak_row
from gpuwatch_agent.probes.verdict import Judgement, judge, late_rank
from support.probes import gpus, plan, result, row

GIB = 1 << 30
EIGHT = plan(8)


def at_pace(busbw: float, size: int = 4 * GIB, ranks: int = 8) -> AllReduceRow:
    """A message that takes as long as that bus bandwidth means."""
    return row(size, size * 2 * (ranks - 1) / ranks / busbw / 1000, ranks=ranks)


def judged(rows: list[AllReduceRow], earlier: list[AllReduceResult] | None = None) -> Judgement:
    return judge(rows, [], EIGHT, earlier or [])


def test_bandwidths_are_those_of_nccl_tests() -> None:
    """8 ranks, 1 GB in 4 ms: 250 GB/s for the program, 437.5 over the bus."""
    assert bandwidths(10**9, 0.004, 8) == pytest.approx((250.0, 437.5))
    assert bandwidths(10**9, 0.004, 2) == pytest.approx((250.0, 250.0))


def test_as_expected() -> None:
    """Nine tenths of what others reach is well, and the sentence says what it rests on."""
    for pace in (478.0, 433.0, 600.0):
        verdict = judged([at_pace(pace)])
        assert verdict.passed is True
        assert "of the 480 that 8×H100 80GB HBM3 over NVSwitch reach elsewhere" in verdict.verdict


def test_below_what_can_be_expected() -> None:
    """A large message at half the pace is not passed."""
    verdict = judged([at_pace(240.0)])
    assert verdict.passed is False
    assert verdict.verdict.startswith("Below what can be expected: 240 GB/s bus bandwidth with 4 GiB, 50 % of the 480")


def test_short_messages_tell_nothing_against_a_machine() -> None:
    """At 64 MiB nobody reaches the pace of 4 GiB."""
    verdict = judged([at_pace(240.0, 64 << 20)])
    assert verdict.passed is None
    assert "without --quick" in verdict.verdict


def test_the_largest_message_is_judged_and_not_the_mean() -> None:
    """Small messages have little bandwidth everywhere."""
    assert judged([at_pace(1.0, 1 << 20), at_pace(478.0)]).passed is True


def test_wrong_sums_outweigh_speed() -> None:
    """A fast fabric that corrupts is not passed."""
    verdict = judged([structs.replace(at_pace(478.0), wrong=3)])
    assert verdict.passed is False
    assert "first with 4 GiB (3 elements)" in verdict.verdict


def past(*paces: float, **changes: object) -> list[AllReduceResult]:
    return [structs.replace(result([at_pace(pace)]), id=f"run-{place}", **changes) for place, pace in enumerate(paces)]


def test_slower_than_this_node_was() -> None:
    """What is good enough elsewhere is not where more was usual; fewer than three runs are no usage."""
    slow = [at_pace(440.0)]
    verdict = judged(slow, past(530.0, 520.0, 525.0))
    assert verdict.passed is False
    assert "16 % below the 525 that is usual on these GPUs (3 runs)" in verdict.verdict
    assert judged(slow, past(530.0, 520.0)).passed is True


def test_only_whole_runs_on_the_same_gpus_are_its_past() -> None:
    """Cut short, without P2P, on other GPUs: another story."""
    slow = [at_pace(440.0)]
    for changes in ({"state": "partial"}, {"p2p_disabled": True}, {"gpus": gpus(7)}, {"ranks": 7}, {"device": "cpu"}):
        assert judged(slow, past(530.0, 530.0, 530.0, **changes)).usual is None


def test_boards_that_nobody_published_are_held_against_their_own_past() -> None:
    """First nothing is known, later what is usual."""
    others = structs.replace(EIGHT, gpus=gpus(8, "NVIDIA L4"), fabric="pcie")
    first = judge([at_pace(9.0)], [], others, [])
    assert (first.passed, first.expected) == (None, None)
    again = judge([at_pace(9.0)], [], others, past(9.0, 9.1, 8.9))
    assert again.passed is True
    assert again.verdict.startswith("As usual: 9 GB/s")


def test_a_processor_is_never_judged() -> None:
    """Its figures are labelled as what they are."""
    verdict = judge([at_pace(1.0, ranks=2)], [], plan(on_cpu=True), [])
    assert verdict.passed is None
    assert verdict.verdict.startswith("CPU, not comparable: 2 ranks over gloo reach 1 GB/s")


def test_nothing_measured_is_nothing_said() -> None:
    """No rows, no judgement."""
    assert judged([]).passed is None


def times(*pairs: tuple[float, float]) -> list[RankTimes]:
    return [
        RankTimes(rank=rank, gpu=rank, work_us_p50=work, call_us_p50=call) for rank, (work, call) in enumerate(pairs)
    ]


def test_the_rank_for_which_the_others_wait_is_named() -> None:
    """Longer at its own work by as much as the others wait."""
    late = late_rank(times((400, 150), (520, 30), (401, 149), (399, 151)))
    assert late is not None
    assert (late.rank, late.gpu, late.slower_pct) == (1, 1, 30.0)
    about = judge([at_pace(478.0)], times((400, 150), (520, 30)), EIGHT, []).verdict
    assert about.endswith("GPU 1 (rank 1) takes 30 % longer than the others for the same work, and they wait for it.")


@pytest.mark.parametrize(
    "measured",
    [
        times((400, 30), (405, 30), (398, 30)),
        times((400, 30), (520, 30), (400, 31)),
        times((10, 30), (14, 26)),
        times((400, 30)),
        [],
    ],
)
def test_no_rank_is_blamed_for_noise(measured: list[RankTimes]) -> None:
    """A few percent, nobody waiting, microseconds, or nobody to compare with."""
    assert late_rank(measured) is None


def test_the_table_of_expectations_is_sound() -> None:
    """Known fabrics, positive figures, a source each; no board and fabric twice."""
    rows = table()
    assert len({(one.board, one.fabric) for one in rows}) == len(rows)
    for one in rows:
        assert one.fabric in FABRICS
        assert one.source
        assert all(ranks > 1 and pace > 0 for ranks, pace in one.busbw.items())


def test_only_alike_boards_are_looked_up() -> None:
    """Mixed boards, another number, no fabric: nothing is expected."""
    eight = gpus(8)
    assert expected_busbw(eight, "nvswitch") is not None
    assert expected_busbw([*eight[:7], *gpus(1, "NVIDIA A100-SXM4-80GB")], "nvswitch") is None
    assert expected_busbw(eight[:3], "nvswitch") is None
    assert expected_busbw(eight, None) is None
    assert expected_busbw(eight, "pcie") is None
    assert expected_busbw(gpus(8, "NVIDIA H200"), "nvswitch") is not None


def test_what_a_frame_carries() -> None:
    """The bandwidth of the largest message and the latency of the smallest, in base units."""
    run = result([row(1024, 14.0), at_pace(478.0)], passed=True)
    outcome = outcome_of(run)
    assert {figure.name: figure.value for figure in outcome.figures} == {
        "allreduce_bus_bandwidth_bytes_per_s": pytest.approx(478e9),
        "allreduce_latency_s": pytest.approx(14e-6),
    }
    assert (outcome.kind, outcome.ranks, outcome.backend, outcome.passed) == ("allreduce", 8, "nccl", True)
    assert outcome_of(result([])).figures == []


def test_of_several_types_the_quicker_one_is_quoted() -> None:
    """At the largest size."""
    slow, quick = at_pace(300.0), structs.replace(at_pace(400.0), dtype="float32")
    assert peak_row([slow, quick, at_pace(900.0, GIB)]) is quick
