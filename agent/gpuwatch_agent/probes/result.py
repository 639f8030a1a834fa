"""What a run of a probe leaves: the document of `--json`, of the file it is stored in, and of comparisons."""

from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.probe import ProbeFigure, ProbeOutcome

SCHEMA = 1
GIGA = 1e9

RunState = Literal["done", "partial", "failed", "cancelled"]


class AllReduceRow(Struct, frozen=True, kw_only=True):
    """One message size."""

    bytes: int
    dtype: str
    iterations: int
    time_us: float
    """Mean time of a call on the slowest rank, calls fired one behind the other."""
    latency_us_p50: float
    latency_us_p99: float | None
    """Null below 100 calls, which have no such percentile."""
    algbw_gb_per_s: float
    busbw_gb_per_s: float
    wrong: int
    """Elements that were not the exact sum, over all ranks."""


class ProbedGpu(Struct, frozen=True, kw_only=True):
    """A GPU that took part."""

    index: int
    uuid: str
    name: str | None = None


class RankTimes(Struct, frozen=True, kw_only=True):
    """One rank where all do the same work (a matrix product) between calls of 64 KiB."""

    rank: int
    gpu: int | None
    work_us_p50: float
    """For its own work: the slow one takes longer."""
    call_us_p50: float
    """In the call: whoever waits for a slow one spends longer there."""


class LateRank(Struct, frozen=True, kw_only=True):
    """The rank for which the others wait."""

    rank: int
    gpu: int | None
    slower_pct: float
    """By how much longer its own work takes than the others'."""


class Expected(Struct, frozen=True, kw_only=True):
    """What was measured elsewhere on the same boards and fabric."""

    busbw_gb_per_s: float
    at_bytes: int
    what: str
    source: str


class Usual(Struct, frozen=True, kw_only=True):
    """What the same GPUs gave in earlier runs."""

    busbw_gb_per_s: float
    at_bytes: int
    runs: int


class Problem(Struct, frozen=True, kw_only=True):
    """What kept the probe from being whole, in words, and what to do."""

    kind: str
    message: str
    action: str


class AllReduceResult(Struct, frozen=True, kw_only=True, tag_field="kind", tag="allreduce"):
    """One run of `probe allreduce`."""

    schema: int = SCHEMA
    id: str
    node: str
    started_at: float
    finished_at: float
    state: RunState
    device: Literal["cuda", "cpu"]
    backend: Literal["nccl", "gloo"]
    comparable: bool
    """False on a processor: its figures say nothing about GPUs."""
    ranks: int
    gpus: list[ProbedGpu]
    fabric: str | None
    quick: bool
    p2p_disabled: bool
    """Whether these figures come from the second try, without P2P."""
    torch_version: str | None
    nccl_version: str | None
    results: list[AllReduceRow]
    rank_times: list[RankTimes]
    """Empty where it did not come to that."""
    expected: Expected | None
    usual: Usual | None
    late_rank: LateRank | None
    passed: bool | None
    verdict: str
    problem: Problem | None
    notes: list[str]
    stderr: str | None
    """The last that the ranks wrote there, where something went wrong."""


class DecodeRow(Struct, frozen=True, kw_only=True):
    """The model over so many ranks."""

    tp: int
    steps: int
    tokens_per_s: float
    """Over all sequences of the batch."""
    ms_per_step_p50: float
    ms_per_step_p99: float | None
    """Null below 100 steps, which have no such percentile."""
    allreduce_share: float
    """Of the rank that waits least, 0 to 1: what the fabric takes."""
    efficiency: float
    """Tokens a second, as a share of the first row's by rank; 1 where more ranks help as much as there are more."""
    memory_gb_per_s: float
    """What each rank read of weights and KV cache."""
    joules_per_token: float | None
    """Null: power is not recorded yet."""
    difference: float | None
    """How far the first outcome is from the first row's; null where the splits have different random weights."""


class DecodeResult(Struct, frozen=True, kw_only=True, tag_field="kind", tag="decode"):
    """One run of `probe decode`."""

    schema: int = SCHEMA
    id: str
    node: str
    started_at: float
    finished_at: float
    state: RunState
    device: Literal["cuda", "cpu"]
    backend: Literal["nccl", "gloo"]
    comparable: bool
    ranks: int
    """Of the widest split."""
    gpus: list[ProbedGpu]
    model: str
    dtype: str
    batch: int
    context: int
    quick: bool
    torch_version: str | None
    nccl_version: str | None
    results: list[DecodeRow]
    passed: bool | None
    verdict: str
    problem: Problem | None
    notes: list[str]
    stderr: str | None


ProbeResult = AllReduceResult | DecodeResult
"""All kinds of results, told apart by `kind`."""


def kind_of(result: ProbeResult) -> Literal["allreduce", "decode"]:
    """Which probe it is of."""
    return "allreduce" if isinstance(result, AllReduceResult) else "decode"


def bandwidths(count: int, seconds: float, ranks: int) -> tuple[float, float]:
    """Algorithm and bus bandwidth in GB/s of an all-reduce of `count` bytes, as nccl-tests defines them."""
    algorithm = count / seconds / GIGA
    return algorithm, algorithm * 2 * (ranks - 1) / ranks


def peak_row(rows: list[AllReduceRow]) -> AllReduceRow | None:
    """The largest message, of the type that does best there: the one bandwidth to quote."""
    largest = max((row.bytes for row in rows), default=0)
    return max((row for row in rows if row.bytes == largest), key=lambda row: row.busbw_gb_per_s, default=None)


def outcome_of(result: ProbeResult) -> ProbeOutcome:
    """What the node's frame carries of it."""
    return ProbeOutcome(
        id=result.id,
        kind=kind_of(result),
        started_at=result.started_at,
        finished_at=result.finished_at,
        gpus=[gpu.index for gpu in result.gpus],
        ranks=result.ranks,
        backend=result.backend,
        passed=result.passed,
        verdict=result.verdict,
        figures=_allreduce_figures(result) if isinstance(result, AllReduceResult) else _decode_figures(result),
    )


def _allreduce_figures(result: AllReduceResult) -> list[ProbeFigure]:
    peak = peak_row(result.results)
    if peak is None:
        return []
    least = min(result.results, key=lambda row: row.bytes)
    return [
        ProbeFigure(name="allreduce_bus_bandwidth_bytes_per_s", value=peak.busbw_gb_per_s * GIGA),
        ProbeFigure(name="allreduce_latency_s", value=least.latency_us_p50 / 1e6),
    ]


def _decode_figures(result: DecodeResult) -> list[ProbeFigure]:
    figures = []
    for row in result.results:
        figures.append(ProbeFigure(name="decode_tokens_per_s", value=row.tokens_per_s, model=result.model, tp=row.tp))
        # The scale begins at one GPU: without that row there is none.
        if result.results[0].tp == 1:
            figures.append(
                ProbeFigure(name="decode_scaling_ratio", value=row.efficiency, model=result.model, tp=row.tp)
            )
    return figures
