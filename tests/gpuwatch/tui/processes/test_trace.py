"""A process's past, looked up on the tape."""

import asyncio

from gpuwatch.tui.processes.trace import Trace, sample_of, step_s
from gpuwatch.tui.tape import Tape
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process


def _frame(taken_at: float, *processes: Process) -> Frame:
    gpus = [Gpu(index=index, uuid=f"GPU-{index}", state="ok", processes=list(processes)) for index in range(2)]
    return Frame(node="n", taken_at=taken_at, simulated=False, gpus=gpus)


def _process(memory: int, started_at: float = 10.0) -> Process:
    return Process(pid=7, started_at=started_at, memory_bytes=memory, sm_pct=float(memory))


def test_memory_is_summed_and_the_busiest_gpu_told() -> None:
    """Over both GPUs."""
    sample = sample_of(_frame(5.0, _process(30)), 7, 10.0)
    assert (sample.memory_bytes, sample.sm_pct) == (60, 30.0)


def test_who_had_the_pid_before_is_somebody_else() -> None:
    """Another start time is another process."""
    assert sample_of(_frame(5.0, _process(30, started_at=99.0)), 7, 10.0).memory_bytes is None


def test_the_past_is_gathered_from_the_tape_and_the_present_from_the_frame() -> None:
    """A cell is its last frame; before the tape begins there is nothing."""
    tape = Tape()
    for second in range(100, 121):
        tape.record(_frame(float(second), *([_process(second)] if second >= 110 else [])))
    trace = Trace(7, 10.0, 5)
    pictures: list[int] = []
    asyncio.run(trace.gather(120.0, 100.0, 8, tape.at, lambda: pictures.append(1)))
    held = [sample.memory_bytes if sample else "not kept" for sample in trace.samples(120.0, 8)]
    assert held == ["not kept"] * 3 + [None, None, 2 * 114, 2 * 119, 2 * 120]
    trace.take(_frame(122.0, _process(1)))
    newest = trace.samples(122.0, 8)[-1]
    assert newest is not None
    assert newest.memory_bytes == 2
    assert pictures


def test_steps_are_round_and_hold_the_time() -> None:
    """An hour on 60 cells is a minute each."""
    assert step_s(3600, 60) == 60
    assert step_s(60, 60) == 1
    assert step_s(601, 60) == 15
