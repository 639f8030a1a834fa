"""One rank of the decode probe: steps of a Llama-shaped model with random weights, its matrices shared by the ranks.

Each layer is split as inference engines split it: attention heads and the middle of the MLP by rank, and an all-reduce
behind each of the two. Rotary positions and sampling are left out; they cost next to nothing.
"""

import datetime as dt
import json
import os
import sys
import time
from itertools import pairwise
from typing import Any

from gpuwatch_agent.probes.workers.speech import die_with_launcher, say

die_with_launcher()  # before the seconds that importing torch takes

import torch  # noqa: E402
from torch import distributed  # noqa: E402

_SHOWN = 16
"""How many numbers of the first step's outcome are told, to be compared between splits."""


class Part:
    """The share of the model that one rank has."""

    def __init__(self, spec: dict[str, Any], rank: int, ranks: int, device: Any) -> None:
        self.rank, self.ranks, self.device = rank, ranks, device
        self.kind = getattr(torch, spec["dtype"])
        shape = spec["shape"]
        self.hidden, self.vocabulary = shape["hidden"], shape["vocabulary"]
        self.heads, self.kv_heads = shape["heads"] // ranks, shape["kv_heads"] // ranks
        self.head = self.hidden // shape["heads"]
        self.batch, self.context = spec["batch"], spec["context"]
        self.exact = spec["exact"]
        self._seed = 0
        self.layers = [self._layer(shape) for _ in range(shape["layers"])]
        self.embedding = self._weight(self.vocabulary, self.hidden, split=None, shares=1)
        self.scores = self._weight(self.hidden, self.vocabulary, split=1)
        self.collectives: list[Any] = []

    def _layer(self, shape: dict[str, int]) -> dict[str, Any]:
        kv_width = shape["kv_heads"] * self.head
        weights = {
            "query": self._weight(self.hidden, self.hidden, split=1),
            "key": self._weight(self.hidden, kv_width, split=1),
            "value": self._weight(self.hidden, kv_width, split=1),
            "output": self._weight(self.hidden, self.hidden, split=0),
            "gate": self._weight(self.hidden, shape["middle"], split=1),
            "up": self._weight(self.hidden, shape["middle"], split=1),
            "down": self._weight(shape["middle"], self.hidden, split=0),
        }
        for name in ("keys", "values"):
            cache = self._weight(self.batch * self.context, kv_width, split=1)
            weights[name] = cache.view(self.batch, self.context, self.kv_heads, self.head).transpose(1, 2).contiguous()
        return weights

    def _weight(self, rows: int, columns: int, *, split: int | None, shares: int | None = None) -> Any:
        """This rank's share. Exact ones are cut from the whole matrix, the same for every number of ranks."""
        count = self.ranks if shares is None else shares
        self._seed += 1
        if self.exact:
            generator = torch.Generator().manual_seed(self._seed)
            whole = torch.randn(rows, columns, generator=generator) / rows**0.5
            share = whole if split is None else whole.chunk(count, dim=split)[self.rank]
            return share.to(self.device, self.kind).contiguous()
        sizes = [rows, columns]
        if split is not None:
            sizes[split] //= count
        return torch.empty(sizes, dtype=self.kind, device=self.device).normal_(std=rows**-0.5)

    def step(self, state: Any) -> tuple[Any, Any]:
        """One token for each sequence: from the hidden state that goes in to the one that comes out, and the next tokens'."""
        for layer in self.layers:
            state = state + self._summed(self._attention(_normed(state), layer))
            narrow = _normed(state)
            middle = torch.nn.functional.silu(narrow @ layer["gate"]) * (narrow @ layer["up"])
            state = state + self._summed(middle @ layer["down"])
        best, place = (_normed(state) @ self.scores).float().max(dim=-1)
        return state, self.embedding[self._chosen(best, place)]

    def _attention(self, narrow: Any, layer: dict[str, Any]) -> Any:
        query = (narrow @ layer["query"]).view(self.batch, self.heads, 1, self.head)
        for name, cache in (("key", "keys"), ("value", "values")):
            layer[cache][:, :, -1] = (narrow @ layer[name]).view(self.batch, self.kv_heads, self.head)
        grouped = torch.nn.functional.scaled_dot_product_attention(
            query, layer["keys"], layer["values"], enable_gqa=self.heads != self.kv_heads
        )
        return grouped.reshape(self.batch, self.heads * self.head) @ layer["output"]

    def _summed(self, share: Any) -> Any:
        if self.ranks > 1:
            self._mark()
            distributed.all_reduce(share)
            self._mark()
        return share

    def _chosen(self, best: Any, place: Any) -> Any:
        """The token with the best score over all ranks' shares of the vocabulary."""
        place = place + self.rank * (self.vocabulary // self.ranks)
        if self.ranks == 1:
            return place
        mine = torch.stack([best.double(), place.double()])
        everybody = [torch.empty_like(mine) for _ in range(self.ranks)]
        distributed.all_gather(everybody, mine)
        gathered = torch.stack(everybody)
        winner = gathered[:, 0].argmax(dim=0)
        return gathered[winner, 1, torch.arange(self.batch, device=self.device)].long()

    def _mark(self) -> None:
        self.collectives.append(now(self.device))


def _normed(state: Any) -> Any:
    wide = state.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + 1e-5)).to(state.dtype)


def now(device: Any) -> Any:
    """This moment of the device's own work."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(before: Any, after: Any) -> float:
    """Seconds from one moment to another."""
    return after - before if isinstance(before, float) else float(before.elapsed_time(after)) / 1e3


def main() -> None:
    """Build this rank's part, run the steps and tell what they took."""
    spec = json.loads(sys.argv[1])
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    on_gpu = spec["device"] == "cuda"
    refusal = _unusable(on_gpu=on_gpu)
    if refusal is not None:
        say("refused", reason=refusal)
        sys.exit(1)
    if rank == 0:
        nccl = ".".join(map(str, torch.cuda.nccl.version())) if on_gpu else None
        say("starting", torch=str(torch.__version__), nccl=nccl)
    local = int(os.environ["LOCAL_RANK"])
    if on_gpu:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=dt.timedelta(seconds=spec["timeout_s"]))
    with torch.inference_mode():
        part = _built(spec, rank, ranks, device)
        if part is not None:
            _measure(part, spec)
            if rank == 0:
                say("finished")
    distributed.barrier()
    distributed.destroy_process_group()


def _unusable(*, on_gpu: bool) -> str | None:
    if not distributed.is_available():
        return "no_distributed"
    if not on_gpu:
        return None if distributed.is_gloo_available() else "no_gloo"
    if not torch.backends.cuda.is_built():
        return "no_cuda_build"
    if not torch.cuda.is_available():
        return "no_cuda"
    return None if distributed.is_nccl_available() else "no_nccl"


def _built(spec: dict[str, Any], rank: int, ranks: int, device: Any) -> Part | None:
    """The part, or nothing on any rank where memory did not suffice on one."""
    part: Part | None = None
    try:
        part = Part(spec, rank, ranks, device)
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)):
            raise
    enough = torch.tensor([float(part is not None)], device=device)
    distributed.all_reduce(enough, op=distributed.ReduceOp.MIN)
    if enough.item() < 1:
        if rank == 0:
            say("out_of_memory")
        return None
    return part


def _measure(part: Part, spec: dict[str, Any]) -> None:
    """The first step's outcome, then timed steps; times are those of the slowest rank."""
    tokens = part.embedding[torch.arange(part.batch, device=part.device) % part.vocabulary]
    first, tokens = part.step(tokens)
    sample = first[0, :_SHOWN].float().tolist()
    moments: list[Any] = []
    for turn in range(spec["warmup"] + spec["steps"]):
        if turn == spec["warmup"]:
            part.collectives.clear()
            distributed.barrier()
            moments.append(now(part.device))
        _, tokens = part.step(tokens)
        if turn >= spec["warmup"]:
            moments.append(now(part.device))
            if part.rank == 0 and turn % 10 == 0:
                done = turn - spec["warmup"]
                say("progress", phase="decode", percent=100 * done / spec["steps"])
    if part.device.type == "cuda":
        torch.cuda.synchronize()
    steps_s = [between(before, after) for before, after in pairwise(moments)]
    pairs = zip(part.collectives[::2], part.collectives[1::2], strict=True)
    waiting_s = sum(between(before, after) for before, after in pairs)
    mine = torch.tensor([*steps_s, waiting_s], dtype=torch.float64, device=part.device)
    everybody = [torch.empty_like(mine) for _ in range(part.ranks)]
    distributed.all_gather(everybody, mine)
    if part.rank == 0:
        whole = sorted(torch.stack(everybody)[:, :-1].max(dim=0).values.tolist())
        shares = [float(one[-1] / one[:-1].sum()) for one in everybody]
        say(
            "result",
            steps=len(whole),
            seconds=sum(whole),
            ms_per_step_p50=1e3 * whole[len(whole) // 2],
            ms_per_step_p99=1e3 * whole[int(0.99 * len(whole))] if len(whole) >= 100 else None,
            # The rank that waits least is the one the others wait for: its share is what the fabric takes.
            allreduce_share=min(shares) if part.ranks > 1 else 0.0,
            sample=sample,
        )


if __name__ == "__main__":
    main()
