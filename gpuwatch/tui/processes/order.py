"""By what processes are sorted: the columns that can be chosen, and which end comes first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from gpuwatch.render.job_cells import Job, command_words, scheduler_words
from gpuwatch.tui.processes.local import Facts

_Told = Callable[[Job, Facts | None], Any]


class Order(Struct, frozen=True):
    """One way to sort; `title` is its column's title."""

    name: str
    title: str
    words: str
    told: _Told
    """What is compared; None goes last, whichever end comes first."""
    biggest_first: bool = False
    local: bool = False
    """Known of this machine's own processes only, by asking for every one of them."""


def _lower(words: str) -> str | None:
    return words.lower() or None


ORDERS: Sequence[Order] = (
    Order(
        "gpu",
        "GPU",
        "GPU, then memory",
        lambda job, _: (min(job.gpus, default=99), -(job.memory_bytes or 0)),
    ),
    Order("memory", "GiB", "GPU memory", lambda job, _: job.memory_bytes, True),
    Order("sm", "SM %", "SM share", lambda job, _: job.sm_pct, True),
    Order("cpu", "CPU %", "CPU share", lambda _, facts: facts.cpu_pct if facts else None, True, True),
    Order("host", "host GiB", "host memory", lambda _, facts: facts.rss_bytes if facts else None, True, True),
    Order("time", "time", "running for", lambda job, _: _negative(job.process.started_at), True),
    Order("pid", "PID", "PID", lambda job, _: job.process.pid),
    Order("user", "user", "user", lambda job, _: _lower(job.process.user or "")),
    Order("rank", "rank", "group and rank", lambda job, _: _rank(job)),
    Order("job", "job", "job", lambda job, _: _lower(scheduler_words(job.process))),
    Order("command", "command", "command", lambda job, _: _lower(command_words(job.process))),
)
BY_NAME = {order.name: order for order in ORDERS}
BY_TITLE = {order.title: order for order in ORDERS}


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _rank(job: Job) -> tuple[str, int] | None:
    process = job.process
    if process.tp_group is None:
        return None
    return process.tp_group, process.tp_rank if process.tp_rank is not None else 1 << 20


def ordered(jobs: Sequence[Job], order: Order, turned: bool, facts: Mapping[int, Facts]) -> list[Job]:
    """Sorted; equals by PID, so that rows do not change places for nothing, and the unknown last."""
    known: list[tuple[Any, Job]] = []
    unknown: list[Job] = []
    for job in sorted(jobs, key=lambda job: job.process.pid):
        told = order.told(job, facts.get(job.process.pid))
        if told is None:
            unknown.append(job)
        else:
            known.append((told, job))
    known.sort(key=lambda pair: pair[0], reverse=order.biggest_first != turned)
    return [*(job for _, job in known), *unknown]
