"""What a probe found out: a measurement that was asked for, with its verdict and the figures that stand for it."""

from typing import Literal

from msgspec import Struct

ProbeKind = Literal["allreduce", "p2p", "decode", "bandwidth", "tokens"]
FigureName = Literal[
    "allreduce_bus_bandwidth_bytes_per_s",
    "allreduce_latency_s",
    "decode_tokens_per_s",
    "decode_scaling_ratio",
    "memory_bandwidth_bytes_per_s",
    "matmul_flops",
]


class ProbeFigure(Struct, frozen=True, kw_only=True, gc=False):
    """One number of a probe's outcome, and what of the probe it belongs to where that is less than the whole."""

    name: FigureName
    value: float
    gpu: int | None = None
    model: str | None = None
    tp: int | None = None
    """How many GPUs shared the model."""


class ProbeOutcome(Struct, frozen=True, kw_only=True):
    """One run of a probe that has ended."""

    id: str
    kind: ProbeKind
    started_at: float
    finished_at: float
    gpus: list[int]
    ranks: int
    backend: str | None = None
    """What carried the data, as "nccl"."""
    passed: bool | None = None
    """Null where the probe measures and there is nothing to hold it against."""
    verdict: str
    """One sentence."""
    figures: list[ProbeFigure] = []
