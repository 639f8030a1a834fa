"""The decode probe: what is planned, that all splits compute the same, and what its figures mean."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from gpuwatch_agent.model.errors import ProbeError, TorchMissingError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.probes.allreduce import Progress
from gpuwatch_agent.probes.decode import DecodeRun
from gpuwatch_agent.probes.decode_plan import PRESETS, DecodePlan, DecodeRequest, plan_decode
from gpuwatch_agent.probes.plan import Machine
from gpuwatch_agent.probes.result import DecodeResult, ProbeResult, outcome_of
from support.fake_torch import fake_torch
from support.probes import probe_processes, with_torch

GIB = 1 << 30
MACHINE = Machine(has_torch=True, shared_memory_free=None, memory_available=64 * GIB)


def idle(count: int, gib: int = 80) -> Frame:
    gpus = [
        Gpu(index=index, uuid=f"GPU-{index}", memory_used_bytes=0, memory_total_bytes=gib * GIB, processes=[])
        for index in range(count)
    ]
    return Frame(node="n", taken_at=0.0, simulated=False, gpus=gpus)


def small(*tps: int, **changes: object) -> DecodePlan:
    plan = plan_decode(DecodeRequest(tp=list(tps), quick=True), None, MACHINE)
    return structs.replace(plan, **changes)


@pytest.mark.parametrize(("name", "billions"), [("1b", 1.236), ("8b", 7.505), ("70b", 69.50)])
def test_presets_are_as_large_as_their_names(name: str, billions: float) -> None:
    """Against the published numbers of parameters, without the table of embeddings that is only looked up."""
    assert PRESETS[name].weights(1) / 1e9 == pytest.approx(billions, rel=0.001)
    assert PRESETS[name].weights(4) == PRESETS[name].weights(1) // 4


def test_splits_are_powers_of_two_up_to_the_gpus() -> None:
    """And on a processor one and two, with the model that is made for it."""
    assert plan_decode(DecodeRequest(), idle(6), MACHINE).tps == [1, 2, 4]
    plan = plan_decode(DecodeRequest(), None, MACHINE)
    assert (plan.tps, plan.model, plan.dtype, plan.exact) == ([1, 2], "small", "float32", True)


def test_a_split_that_memory_has_no_room_for_is_left_out_and_told() -> None:
    """70 billion numbers of 16 bits take two boards of 80 GiB."""
    plan = plan_decode(DecodeRequest(model="70b"), idle(4), MACHINE)
    assert plan.tps == [2, 4]
    assert plan.notes[0].startswith("Left out: over 1 the model needs 132.")
    with pytest.raises(ProbeError, match="fits nowhere here"):
        plan_decode(DecodeRequest(model="70b"), idle(2, gib=24), MACHINE)


@pytest.mark.parametrize(
    ("request_", "gpus", "words"),
    [
        (DecodeRequest(tp=[3]), 4, "8 heads can't be shared by 3 ranks"),
        (DecodeRequest(tp=[8]), 4, "takes as many GPUs, and there are 4"),
        (DecodeRequest(gpus=[9]), 4, "There is no GPU 9"),
        (DecodeRequest(gpus=[0]), 0, "--gpus is for GPUs"),
        (DecodeRequest(gpus=[0], on_cpu=True), 4, "--gpus is for GPUs"),
    ],
)
def test_what_makes_no_sense_is_refused(request_: DecodeRequest, gpus: int, words: str) -> None:
    """Bad usage, with a way out."""
    with pytest.raises(UsageError) as refused:
        plan_decode(request_, idle(gpus) if gpus else None, MACHINE)
    assert words in str(refused.value)


def test_torch_is_needed() -> None:
    """As for every probe."""
    with pytest.raises(TorchMissingError):
        plan_decode(DecodeRequest(), None, structs.replace(MACHINE, has_torch=False))


@with_torch
def test_two_ranks_compute_what_one_does(tmp_path: Path) -> None:
    """The same outcome to fp32's precision, figures that fit each other, and nothing left."""
    told: list[Progress] = []
    environ = {**os.environ, "OF_TEST": str(tmp_path)}
    result = asyncio.run(DecodeRun(small(1, 2), node="n", environ=environ, on_progress=told.append).run())
    assert (result.state, result.problem, result.comparable, result.passed) == ("done", None, False, None)
    one, two = result.results
    assert two.difference is not None
    assert two.difference < 1e-4
    assert (one.tp, two.tp, one.allreduce_share, one.efficiency, one.difference) == (1, 2, 0.0, 1.0, None)
    assert 0 < two.allreduce_share < 1
    assert two.efficiency == pytest.approx(two.tokens_per_s / one.tokens_per_s / 2)
    # 4 layers of 256 x (2 x 256 + 2 x 128 + 3 x 704), the scores, and 128 tokens of keys and values; 4 bytes each.
    read = 4 * (4 * 256 * (2 * 256 + 2 * 128 + 3 * 704) + 256 * 4096 + 2 * 4 * 128 * 128)
    assert one.memory_gb_per_s == pytest.approx(read * one.tokens_per_s / 1e9)
    assert two.memory_gb_per_s == pytest.approx(read / 2 * two.tokens_per_s / 1e9)
    assert [progress.phase for progress in told] == ["tp 1", "tp 2"]
    assert probe_processes(str(tmp_path)) == set()
    assert msgspec.json.decode(msgspec.json.encode(result), type=ProbeResult) == result
    figures = {(figure.name, figure.tp): figure.value for figure in outcome_of(result).figures}
    assert figures["decode_tokens_per_s", 2] == two.tokens_per_s
    assert figures["decode_scaling_ratio", 2] == two.efficiency


def test_a_split_that_computes_something_else_fails_the_run(tmp_path: Path) -> None:
    """As quick as it may be, one number that is half off is wrong; the same numbers are not."""
    for ranks, passed in (("wrong", False), ("well", None)):
        result = asyncio.run(DecodeRun(small(1, 2), node="n", environ=fake_torch(tmp_path, ranks)).run())
        assert (result.state, result.passed) == ("done", passed)
        assert result.verdict.startswith("Over 2 ranks the model computes something else than over 1") == (
            passed is False
        )
        assert result.results[1].difference == (0.5 if ranks == "wrong" else 0.0)


@pytest.mark.parametrize(
    ("ranks", "kind", "words"),
    [
        ("port", "port_taken", "Run it again"),
        ("no_nccl", "no_nccl", "has no NCCL"),
        ("stubborn", "deadline", "Not done within 1 s"),
    ],
)
def test_failures_are_named_and_leave_nothing(tmp_path: Path, ranks: str, kind: str, words: str) -> None:
    """With ranks that fail on purpose."""
    environ = {**fake_torch(tmp_path, ranks), "OF_TEST": str(tmp_path)}
    result: DecodeResult = asyncio.run(DecodeRun(small(1, 2, deadline_s=1.0), node="n", environ=environ).run())
    assert result.problem is not None
    assert (result.state, result.problem.kind, result.results) == ("failed", kind, [])
    assert words in result.verdict
    assert probe_processes(str(tmp_path)) == set()
