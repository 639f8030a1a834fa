"""Which model is decoded over how many ranks: presets, and what memory and heads allow."""

from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.errors import ProbeError, UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.probes.plan import GIB, Machine, choose_gpus, need_torch, refuse_unusable
from gpuwatch_agent.probes.result import ProbedGpu

MOST_TP = 8
_MEMORY_SHARE = 0.9


class Shape(Struct, frozen=True, kw_only=True):
    """The sizes of a Llama-like model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    middle: int
    vocabulary: int

    def weights(self, tp: int) -> int:
        """Numbers that a rank reads for every token; the embedding is only looked up."""
        kv_width = self.kv_heads * self.hidden // self.heads
        layer = 2 * self.hidden * self.hidden + 2 * self.hidden * kv_width + 3 * self.hidden * self.middle
        return (self.layers * layer + self.hidden * self.vocabulary) // tp

    def cached(self, tp: int, batch: int, context: int) -> int:
        """Numbers of the KV cache that a rank reads for every token."""
        return 2 * self.layers * batch * context * self.kv_heads * (self.hidden // self.heads) // tp


PRESETS = {
    "small": Shape(layers=4, hidden=256, heads=8, kv_heads=4, middle=704, vocabulary=4096),
    "1b": Shape(layers=16, hidden=2048, heads=32, kv_heads=8, middle=8192, vocabulary=128256),
    "8b": Shape(layers=32, hidden=4096, heads=32, kv_heads=8, middle=14336, vocabulary=128256),
    "70b": Shape(layers=80, hidden=8192, heads=64, kv_heads=8, middle=28672, vocabulary=128256),
}


class DecodeRequest(Struct, frozen=True, kw_only=True):
    """What is asked for; whatever is null is chosen."""

    model: str | None = None
    tp: list[int] | None = None
    gpus: list[int] | None = None
    on_cpu: bool = False
    batch: int = 1
    context: int | None = None
    quick: bool = False
    force: bool = False
    deadline_s: float | None = None


class DecodePlan(Struct, frozen=True, kw_only=True):
    """What will be run, one split after the other."""

    device: Literal["cuda", "cpu"]
    gpus: list[ProbedGpu]
    model: str
    shape: Shape
    dtype: str
    exact: bool
    """Whether all splits have the same weights, so that their outcomes can be compared."""
    tps: list[int]
    batch: int
    context: int
    steps: int
    warmup: int
    quick: bool
    deadline_s: float
    notes: list[str]


def plan_decode(request: DecodeRequest, frame: Frame | None, machine: Machine) -> DecodePlan:
    """Decide on model and splits; `frame` is null where there is no driver."""
    need_torch(machine)
    present = frame.gpus if frame is not None else []
    if request.gpus is not None and (request.on_cpu or not present):
        raise UsageError("--gpus is for GPUs, and this would run on the processor.", "Leave it out.")
    chosen = [] if request.on_cpu or not present else choose_gpus(request.gpus, None, present)
    notes = refuse_unusable(chosen, force=request.force) if chosen else []
    model = request.model or ("8b" if chosen else "small")
    shape, width = PRESETS[model], 2 if chosen else 4
    context = request.context or (2048 if chosen else 128)
    tps = _splits(request.tp, shape, len(chosen) or None)
    free = [
        gpu.memory_total_bytes - gpu.memory_used_bytes
        for gpu in chosen
        if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None
    ]
    fitting = []
    for tp in tps:
        embedding = shape.hidden * shape.vocabulary
        needed = width * (shape.weights(tp) + shape.cached(tp, request.batch, context) + embedding)
        room = min(free[:tp], default=None) if chosen else machine.memory_available // tp
        if room is None or needed <= _MEMORY_SHARE * room:
            fitting.append(tp)
        else:
            notes.append(
                f"Left out: over {tp} the model needs {needed / GIB:.1f} GiB on each, {room / GIB:.1f} are free."
            )
    if not fitting:
        raise ProbeError(f"The model {model} fits nowhere here. {' '.join(notes)}", "Choose a smaller --model.")
    return DecodePlan(
        device="cuda" if chosen else "cpu",
        gpus=[ProbedGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name) for gpu in chosen],
        model=model,
        shape=shape,
        dtype="bfloat16" if chosen else "float32",
        exact=model == "small",
        tps=fitting,
        batch=request.batch,
        context=context,
        steps=30 if request.quick else 200,
        warmup=3 if request.quick else 10,
        quick=request.quick,
        deadline_s=request.deadline_s or (120.0 if request.quick else 600.0),
        notes=notes,
    )


def _splits(asked: list[int] | None, shape: Shape, gpus: int | None) -> list[int]:
    """Over how many ranks: what was asked for, else the powers of two; each has to divide the model's heads."""
    if asked is None:
        return [tp for tp in (1, 2, 4, 8) if tp <= (gpus or 2) and shape.kv_heads % tp == 0]
    for tp in asked:
        if shape.kv_heads % tp:
            raise UsageError(f"{shape.kv_heads} heads can't be shared by {tp} ranks.", "Choose another --tp.")
        if gpus is not None and tp > gpus:
            raise UsageError(f"--tp {tp} takes as many GPUs, and there are {gpus}.", "Ask for fewer, or use --cpu.")
    return sorted(set(asked))
