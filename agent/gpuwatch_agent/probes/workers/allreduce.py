"""One rank of the all-reduce probe: `python -m torch.distributed.run … -m gpuwatch_agent.probes.workers.allreduce SPEC`.

The timing follows nccl-tests: warm-up, then calls fired one behind the other, in place, and the mean over the whole
loop; each call's own time is taken beside it, for percentiles.
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

_CHUNK = 3 << 20
"""Elements filled and compared at once; a multiple of the pattern's three."""


_SHARED_BYTES = 64 << 10
_WARM_TURNS, _TURNS = 10, 50


class Rank:
    """This process among its peers, on its device."""

    def __init__(self, device: str, timeout_s: float) -> None:
        self.number, self.count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.on_gpu = device == "cuda"
        local = int(os.environ["LOCAL_RANK"])
        if self.on_gpu:
            torch.cuda.set_device(local)
        self.device = torch.device("cuda", local) if self.on_gpu else torch.device("cpu")
        distributed.init_process_group("nccl" if self.on_gpu else "gloo", timeout=dt.timedelta(seconds=timeout_s))

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def agreed(self, value: float, how: Any) -> float:
        """One number that all ranks hold after all gave theirs."""
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared, op=how)
        return float(shared.item())

    def gathered(self, values: list[float]) -> list[list[float]]:
        """Everybody's values, by rank."""
        mine = torch.tensor(values, dtype=torch.float64, device=self.device)
        everybody = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(everybody, mine)
        return [one.tolist() for one in everybody]


def main() -> None:
    """Measure what the specification asks for and tell it size by size."""
    spec = json.loads(sys.argv[1])
    refusal = _unusable(spec["device"])
    if refusal is not None:
        say("refused", reason=refusal)
        sys.exit(1)
    if int(os.environ["RANK"]) == 0:
        say("starting", torch=str(torch.__version__), nccl=_nccl_version(spec["device"]))
    rank = Rank(spec["device"], spec["timeout_s"])
    if rank.number == 0:
        say("connected", ranks=rank.count)
    if _sweep(rank, spec):
        _side_by_side(rank)
    distributed.barrier()
    if rank.number == 0:
        say("finished")
    distributed.destroy_process_group()


def _unusable(device: str) -> str | None:
    """Why this torch can't do it, as a word."""
    if not distributed.is_available():
        return "no_distributed"
    if device == "cuda":
        if not torch.backends.cuda.is_built():
            return "no_cuda_build"
        if not torch.cuda.is_available():
            return "no_cuda"
        if not distributed.is_nccl_available():
            return "no_nccl"
    elif not distributed.is_gloo_available():
        return "no_gloo"
    return None


def _nccl_version(device: str) -> str | None:
    return ".".join(map(str, torch.cuda.nccl.version())) if device == "cuda" else None


def _sweep(rank: Rank, spec: dict[str, Any]) -> bool:
    """All sizes; false where memory did not suffice for one."""
    steps = [(dtype, step) for dtype in spec["dtypes"] for step in spec["steps"]]
    pace = _Pace([step["bytes"] for _, step in steps], spec["seconds_a_size"])
    for done, (dtype, step) in enumerate(steps):
        if rank.number == 0:
            say(
                "progress",
                phase="latency" if step["bytes"] <= spec["latency_up_to"] else "bandwidth",
                dtype=dtype,
                bytes=step["bytes"],
                done=done,
                total=len(steps),
                percent=round(100 * done / len(steps), 1),
                eta_s=pace.remaining_s(done),
            )
        began = time.monotonic()
        if not _one_size(rank, dtype, step, spec["seconds_a_size"]):
            return False
        pace.took(time.monotonic() - began)
    return True


def _side_by_side(rank: Rank) -> None:
    """How long each rank takes for the same work between calls: in the calls alone all wait for each other alike."""
    if rank.number == 0:
        say("progress", phase="ranks", percent=99.0, eta_s=1.0)
    side, kind = (4096, torch.bfloat16) if rank.on_gpu else (256, torch.float32)
    factor = torch.ones(side, side, dtype=kind, device=rank.device)
    shared = torch.zeros(_SHARED_BYTES // kind.itemsize, dtype=kind, device=rank.device)
    moments: list[Any] = []

    def mark() -> None:
        if rank.on_gpu:
            moments.append(torch.cuda.Event(enable_timing=True))
            moments[-1].record()
        else:
            moments.append(time.perf_counter())

    for turn in range(_WARM_TURNS + _TURNS):
        if turn == _WARM_TURNS:
            rank.synchronize()
            moments.clear()
            mark()
        torch.mm(factor, factor)
        mark()
        distributed.all_reduce(shared)
        mark()
    rank.synchronize()
    if rank.on_gpu:
        spans = [before.elapsed_time(after) / 1e3 for before, after in pairwise(moments)]
    else:
        spans = [after - before for before, after in pairwise(moments)]
    work_s, call_s = (_percentile(sorted(spans[place::2]), 0.5) for place in (0, 1))
    by_rank = rank.gathered([work_s, call_s])
    if rank.number == 0:
        say(
            "ranks",
            work_us_p50=[round(1e6 * work, 2) for work, _ in by_rank],
            call_us_p50=[round(1e6 * call, 2) for _, call in by_rank],
        )


class _Pace:
    """How long the rest will take: as the last size did, by bytes, and no size longer than its budget by much."""

    def __init__(self, sizes: list[int], most_s: float) -> None:
        self._sizes, self._most_s = sizes, most_s
        self._last_s: float | None = None

    def took(self, seconds: float) -> None:
        self._last_s = seconds

    def remaining_s(self, done: int) -> float | None:
        if self._last_s is None:
            return None
        last = self._sizes[done - 1]
        rest = (min(2 * self._most_s, self._last_s * max(size / last, 0.5)) for size in self._sizes[done:])
        return round(sum(rest), 1)


def _one_size(rank: Rank, dtype: str, step: dict[str, int], budget_s: float) -> bool:
    """Measure one size; false where memory did not suffice on some rank."""
    kind = getattr(torch, dtype)
    buffer = _allocated(step["bytes"] // kind.itemsize, kind, rank.device)
    if rank.agreed(float(buffer is not None), distributed.ReduceOp.MIN) < 1:
        if rank.number == 0:
            say("out_of_memory", bytes=step["bytes"], dtype=dtype)
        return False
    wrong = _count_wrong(rank, buffer)
    buffer.zero_()  # sums of zeros stay finite, however many
    iterations = _iterations(rank, buffer, step, budget_s)
    mean_s, each_s = _timed(rank, buffer, iterations)
    by_rank = rank.gathered([mean_s, *each_s])
    if rank.number == 0:
        # A call is done when its last rank is.
        whole_s = sorted(map(max, *(times[1:] for times in by_rank)))
        say(
            "result",
            bytes=buffer.numel() * buffer.element_size(),
            dtype=dtype,
            iterations=iterations,
            time_us=1e6 * max(times[0] for times in by_rank),
            latency_us_p50=1e6 * _percentile(whole_s, 0.5),
            latency_us_p99=1e6 * _percentile(whole_s, 0.99) if iterations >= 100 else None,
            wrong=int(wrong),
        )
    return True


def _allocated(count: int, dtype: Any, device: Any) -> Any:
    try:
        return torch.empty(count, dtype=dtype, device=device)
    except (RuntimeError, MemoryError) as error:
        # On a processor torch has no class of its own for this.
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error):
            return None
        raise


def _pattern(rank: int, rank_count: int | None, count: int, dtype: Any, device: Any) -> Any:
    """What `rank` gives, or what all together must get: 1, 2 or 3 by place, so each sum is exact in every type."""
    ranks = [rank] if rank_count is None else range(rank_count)
    period = [sum(1 + (place + one) % 3 for one in ranks) for place in range(3)]
    return torch.tensor(period, dtype=dtype, device=device).repeat((count + 2) // 3)


def _count_wrong(rank: Rank, buffer: Any) -> float:
    """Elements that came out wrong, over all ranks."""
    length = min(buffer.numel(), _CHUNK)
    given = _pattern(rank.number, None, length, buffer.dtype, rank.device)
    for start in range(0, buffer.numel(), _CHUNK):
        part = buffer[start : start + _CHUNK]
        part.copy_(given[: part.numel()])
    del given
    distributed.all_reduce(buffer)
    expected = _pattern(0, rank.count, length, buffer.dtype, rank.device)
    wrong = 0
    for start in range(0, buffer.numel(), _CHUNK):
        part = buffer[start : start + _CHUNK]
        wrong += int((part != expected[: part.numel()]).sum().item())
    return rank.agreed(float(wrong), distributed.ReduceOp.SUM)


def _iterations(rank: Rank, buffer: Any, step: dict[str, int], budget_s: float) -> int:
    """Warm up, and take as many calls as are asked for or as the budget allows, the same number on each rank."""
    for _ in range(step["warmup"]):
        distributed.all_reduce(buffer)
    rank.synchronize()
    tries_s = []
    for _ in range(3):
        began = time.perf_counter()
        distributed.all_reduce(buffer)
        rank.synchronize()
        tries_s.append(time.perf_counter() - began)
    call_s = rank.agreed(min(tries_s), distributed.ReduceOp.MAX)
    return max(min(step["iterations"], int(budget_s / max(call_s, 1e-9))), 5)


def _timed(rank: Rank, buffer: Any, iterations: int) -> tuple[float, list[float]]:
    """The mean over the loop, and each call's own time, in seconds."""
    distributed.barrier()
    rank.synchronize()
    if rank.on_gpu:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(iterations + 1)]
        began = time.perf_counter()
        marks[0].record()
        for mark in marks[1:]:
            distributed.all_reduce(buffer)
            mark.record()
        rank.synchronize()
        whole_s = time.perf_counter() - began
        return whole_s / iterations, [before.elapsed_time(after) / 1e3 for before, after in pairwise(marks)]
    moments = [time.perf_counter()]
    for _ in range(iterations):
        distributed.all_reduce(buffer)
        moments.append(time.perf_counter())
    each = [after - before for before, after in pairwise(moments)]
    return (moments[-1] - moments[0]) / iterations, each


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    main()
