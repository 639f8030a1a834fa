"""Plans and results of probes, and what is left of their processes."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gpuwatch_agent.probes.leftovers import MARK
from gpuwatch_agent.probes.plan import Plan, Step
from gpuwatch_agent.probes.result import AllReduceResult, AllReduceRow, ProbedGpu, bandwidths

H100 = "NVIDIA H100 80GB HBM3"

with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (a gigabyte): `pip install -c constraints.txt torch` brings it, as CI does",
)


def gpus(count: int, name: str = H100) -> list[ProbedGpu]:
    return [ProbedGpu(index=index, uuid=f"GPU-{index}", name=name) for index in range(count)]


def plan(count: int = 2, *, on_cpu: bool = False, **changes: Any) -> Plan:
    """Two sizes on a few GPUs, or on the processor."""
    plain = Plan(
        device="cpu" if on_cpu else "cuda",
        ranks=count,
        gpus=[] if on_cpu else gpus(count),
        fabric=None if on_cpu else "nvswitch",
        dtypes=["float32"],
        steps=[Step(bytes=1024, iterations=100, warmup=5), Step(bytes=65536, iterations=100, warmup=5)],
        quick=True,
        seconds_a_size=0.2,
        deadline_s=30.0,
        notes=[],
    )
    return structs.replace(plain, **changes)


def row(size: int, time_us: float, *, ranks: int = 8, **changes: Any) -> AllReduceRow:
    algorithm, bus = bandwidths(size, time_us / 1e6, ranks)
    plain = AllReduceRow(
        bytes=size,
        dtype="bfloat16",
        iterations=100,
        time_us=time_us,
        latency_us_p50=time_us,
        latency_us_p99=2 * time_us,
        algbw_gb_per_s=algorithm,
        busbw_gb_per_s=bus,
        wrong=0,
    )
    return structs.replace(plain, **changes)


def result(rows: list[AllReduceRow], *, ranks: int = 8, **changes: Any) -> AllReduceResult:
    """A whole run on GPUs that nothing was wrong with."""
    plain = AllReduceResult(
        id="20261121T020000-allreduce-0001",
        node="node07",
        started_at=1_795_226_400.0,
        finished_at=1_795_226_412.0,
        state="done",
        device="cuda",
        backend="nccl",
        comparable=True,
        ranks=ranks,
        gpus=gpus(ranks),
        fabric="nvswitch",
        quick=False,
        p2p_disabled=False,
        torch_version="2.13.0",
        nccl_version="2.29.3",
        results=rows,
        rank_times=[],
        expected=None,
        usual=None,
        late_rank=None,
        passed=None,
        verdict="Measured.",
        problem=None,
        notes=[],
        stderr=None,
    )
    return structs.replace(plain, **changes)


def probe_processes(inside: str) -> set[int]:
    """Living processes of any probe that carry this text in their environment, too."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if MARK.encode() in environment and inside.encode() in environment:
                found.add(int(entry.name))
    return found
