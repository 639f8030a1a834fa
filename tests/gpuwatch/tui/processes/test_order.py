"""Sorting by every column, with what is unknown last."""

import pytest

from gpuwatch.render.job_cells import Job, Part, job_of
from gpuwatch.tui.processes.local import Facts
from gpuwatch.tui.processes.order import BY_NAME, ORDERS, ordered
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process


def _job(pid: int, gpu: int, **told: object) -> Job:
    process = Process(pid=pid, **told)  # type: ignore[arg-type]  # the caller names fields
    return job_of([Part(Gpu(index=gpu, uuid=f"GPU-{gpu}", state="ok"), process)])


def _facts(pid: int, cpu_pct: float | None, rss_bytes: int | None) -> Facts:
    return Facts(
        pid=pid,
        ppid=1,
        user=None,
        name=None,
        command=None,
        cgroup=None,
        started_at=0.0,
        cpu_pct=cpu_pct,
        rss_bytes=rss_bytes,
    )


JOBS = [
    _job(3, 1, user="bob", memory_bytes=5, sm_pct=90.0, started_at=100.0, command="b", tp_group="g", tp_rank=1),
    _job(1, 0, user="Ann", memory_bytes=9, sm_pct=10.0, started_at=300.0, command="/x/a", tp_group="g", tp_rank=0),
    _job(2, 0, user=None, memory_bytes=None, sm_pct=None, started_at=None, slurm_job="7"),
]
FACTS = {3: _facts(3, 10.0, 50), 1: _facts(1, 80.0, 20)}


@pytest.mark.parametrize(
    ("name", "pids"),
    [
        ("gpu", [1, 2, 3]),
        ("memory", [1, 3, 2]),
        ("sm", [3, 1, 2]),
        ("cpu", [1, 3, 2]),
        ("host", [3, 1, 2]),
        ("time", [3, 1, 2]),
        ("pid", [1, 2, 3]),
        ("user", [1, 3, 2]),
        ("rank", [1, 3, 2]),
        ("job", [2, 1, 3]),
        ("command", [1, 3, 2]),
    ],
)
def test_each_order(name: str, pids: list[int]) -> None:
    """Big numbers first, words from A on, the unknown last."""
    assert [job.process.pid for job in ordered(JOBS, BY_NAME[name], False, FACTS)] == pids


@pytest.mark.parametrize("name", [order.name for order in ORDERS])
def test_turned_around_the_unknown_is_still_last(name: str) -> None:
    """What is not known is at neither end of a scale."""
    forward = ordered(JOBS, BY_NAME[name], False, FACTS)
    turned = ordered(JOBS, BY_NAME[name], True, FACTS)
    known = [job for job in forward if BY_NAME[name].told(job, FACTS.get(job.process.pid)) is not None]
    assert turned[: len(known)] == known[::-1]


def test_equals_keep_their_place() -> None:
    """Rows of the same value stand by PID, whatever order the driver names them in."""
    same = [_job(pid, 0, sm_pct=100.0) for pid in (9, 4, 7)]
    assert [job.process.pid for job in ordered(same, BY_NAME["sm"], False, {})] == [4, 7, 9]
    assert [job.process.pid for job in ordered(same[::-1], BY_NAME["sm"], False, {})] == [4, 7, 9]
