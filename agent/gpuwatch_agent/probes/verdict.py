"""What the figures of an all-reduce mean: held against other machines, this node's own past, and the ranks to each other."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from gpuwatch_agent.probes.expectations import expected_busbw
from gpuwatch_agent.probes.plan import Plan, size_in_words
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, Expected, LateRank, RankTimes, Usual, peak_row

# nccl-tests, too, fails below nine tenths of what it is told to expect.
_GOOD_ENOUGH = 0.9
_LIKE_USUAL = 0.85
_LEAST_RUNS, _MOST_RUNS = 3, 10
# Below this, machines with NVLink have not reached their pace.
_ENOUGH_BYTES = 1 << 30
_LATE_SHARE, _LATE_US = 0.1, 20.0


class Judgement(NamedTuple):
    """A sentence, and what it rests on."""

    passed: bool | None
    verdict: str
    expected: Expected | None = None
    usual: Usual | None = None
    late_rank: LateRank | None = None


def judge(
    rows: Sequence[AllReduceRow], times: Sequence[RankTimes], plan: Plan, earlier: Sequence[AllReduceResult]
) -> Judgement:
    """Judge at the largest message; `earlier` are this node's results, the newest first."""
    peak = peak_row(list(rows))
    if peak is None:
        return Judgement(None, "Nothing was measured.")
    expected = expected_busbw(plan.gpus, plan.fabric)
    usual = usual_busbw(plan, peak, earlier)
    late = late_rank(times)
    passed, verdict = _held_against(rows, peak, plan, expected, usual)
    return Judgement(passed, f"{verdict}{_about(late)}", expected, usual, late)


def _held_against(
    rows: Sequence[AllReduceRow], peak: AllReduceRow, plan: Plan, expected: Expected | None, usual: Usual | None
) -> tuple[bool | None, str]:
    reached = f"{peak.busbw_gb_per_s:.3g} GB/s bus bandwidth with {size_in_words(peak.bytes)}"
    bad = [row for row in rows if row.wrong]
    if bad:
        return False, (
            f"The sums came out wrong, first with {size_in_words(bad[0].bytes)} ({bad[0].wrong} elements): memory or a link "
            "corrupts data, and no result of these GPUs can be trusted."
        )
    if plan.device == "cpu":
        return None, f"CPU, not comparable: {plan.ranks} ranks over gloo reach {reached}."
    if usual is not None and peak.busbw_gb_per_s < _LIKE_USUAL * usual.busbw_gb_per_s:
        lost = 100 * (1 - peak.busbw_gb_per_s / usual.busbw_gb_per_s)
        return False, (
            f"Slower than before: {reached}, {lost:.0f} % below the {usual.busbw_gb_per_s:.3g} that is usual on these GPUs "
            f"({usual.runs} runs). `gpuwatch check` and `gpuwatch topo` may show which link."
        )
    if expected is not None:
        return _against_others(peak, reached, expected)
    if usual is not None:
        return True, f"As usual: {reached}, {usual.busbw_gb_per_s:.3g} in {usual.runs} earlier runs."
    return None, f"Measured: {reached}; of these boards so joined nothing is known to hold it against but later runs."


def _against_others(peak: AllReduceRow, reached: str, expected: Expected) -> tuple[bool | None, str]:
    share = peak.busbw_gb_per_s / expected.busbw_gb_per_s
    elsewhere = f"{100 * share:.0f} % of the {expected.busbw_gb_per_s:.3g} that {expected.what} reach elsewhere"
    if share >= _GOOD_ENOUGH:
        return True, f"As expected: {reached}, {elsewhere}."
    if peak.bytes < min(expected.at_bytes, _ENOUGH_BYTES):
        return None, (
            f"Not told by such short messages: {reached}, {elsewhere} with {size_in_words(expected.at_bytes)}; run it "
            "without --quick, or with larger --sizes."
        )
    return False, (
        f"Below what can be expected: {reached}, {elsewhere}. `gpuwatch topo` shows links that are down or narrow, "
        "`gpuwatch check` what slows GPUs down."
    )


def usual_busbw(plan: Plan, peak: AllReduceRow, earlier: Sequence[AllReduceResult]) -> Usual | None:
    """The median of the last whole runs on the same GPUs with the same message; null while there are too few."""
    gpus = {gpu.uuid for gpu in plan.gpus}
    found = [
        row.busbw_gb_per_s
        for run in earlier
        if run.state == "done"
        and not run.p2p_disabled
        and (run.device, run.ranks) == (plan.device, plan.ranks)
        and {gpu.uuid for gpu in run.gpus} == gpus
        for row in run.results
        if (row.bytes, row.dtype) == (peak.bytes, peak.dtype)
    ][:_MOST_RUNS]
    if len(found) < _LEAST_RUNS:
        return None
    return Usual(busbw_gb_per_s=median(found), at_bytes=peak.bytes, runs=len(found))


def late_rank(times: Sequence[RankTimes]) -> LateRank | None:
    """The rank whose own work takes clearly longer than the others', who are seen to wait for it."""
    if len(times) < 2:
        return None
    *others, slow = sorted(times, key=lambda one: one.work_us_p50)
    usual_us = median(one.work_us_p50 for one in others)
    extra_us = slow.work_us_p50 - usual_us
    waited_us = median(one.call_us_p50 for one in others) - slow.call_us_p50
    if extra_us < max(_LATE_SHARE * usual_us, _LATE_US) or waited_us < extra_us / 2:
        return None
    return LateRank(rank=slow.rank, gpu=slow.gpu, slower_pct=round(100 * extra_us / usual_us, 1))


def _about(late: LateRank | None) -> str:
    if late is None:
        return ""
    who = f"GPU {late.gpu} (rank {late.rank})" if late.gpu is not None else f"Rank {late.rank}"
    return f" {who} takes {late.slower_pct:.0f} % longer than the others for the same work, and they wait for it."
