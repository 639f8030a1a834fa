import threading

import pytest

from gpuwatch_agent.model.errors import GpuLostError
from gpuwatch_agent.sampling.worker import Worker


def clock() -> float:
    return 42.0


def test_an_answer_comes_back_to_whoever_waits() -> None:
    """A job's value is handed to the thread that asked."""
    worker: Worker[int] = Worker("test", clock)
    worker.start(lambda: 7)
    assert worker.answer(5) == 7
    assert worker.busy_since is None
    worker.stop()


def test_an_error_is_raised_where_it_is_waited_for() -> None:
    """What a job raises reaches the thread that asked, not the log."""

    def lose() -> int:
        raise GpuLostError

    worker: Worker[int] = Worker("test", clock)
    worker.start(lose)
    with pytest.raises(GpuLostError):
        worker.answer(5)
    worker.stop()


def test_a_job_that_hangs_costs_one_deadline_and_is_answered_later() -> None:
    """A late answer is not lost: it is taken when it comes, and the worker is free again."""
    gate = threading.Event()
    worker: Worker[str] = Worker("test", clock)

    def hang() -> str:
        gate.wait(30)
        return "late"

    worker.start(hang)
    assert worker.answer(0.01) is None
    assert worker.busy_since == 42.0
    assert worker.answer(0) is None
    gate.set()
    assert worker.answer(5) == "late"
    worker.stop()
