"""Processes as rows over all the GPUs they use."""

import pytest

from gpuwatch.render.ansi import Line
from gpuwatch.render.job_cells import command_cell, jobs_of, rank_cell, rank_name, scheduler_words
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process


def _frame(*listed: list[Process]) -> Frame:
    gpus = [Gpu(index=index, uuid=f"GPU-{index}", state="ok", processes=there) for index, there in enumerate(listed)]
    return Frame(node="n", taken_at=1.0, simulated=False, gpus=gpus)


def _text(line: Line) -> str:
    return "".join(span.text for span in line)


def test_one_row_over_all_gpus() -> None:
    """Memory is summed, the busiest GPU told, and each GPU's part kept."""
    jobs = jobs_of(_frame([Process(pid=5, memory_bytes=2, sm_pct=10.0)], [Process(pid=5, memory_bytes=3, sm_pct=40.0)]))
    assert [(job.gpus, job.memory_bytes, job.sm_pct) for job in jobs] == [([0, 1], 5, 40.0)]
    assert [part.process.memory_bytes for part in jobs[0].parts] == [2, 3]


def test_what_no_gpu_tells_stays_unknown() -> None:
    """Unknown memory is not 0; where one GPU tells, that much is known."""
    unknown, partly = Process(pid=5), Process(pid=6)
    jobs = jobs_of(_frame([unknown, partly], [unknown, Process(pid=6, memory_bytes=3)]))
    assert [job.memory_bytes for job in jobs] == [None, 3]
    assert [job.sm_pct for job in jobs] == [None, None]


@pytest.mark.parametrize(("split", "name"), [(None, "TP3"), ("tensor", "TP3"), ("data", "DP3"), ("pipeline", "PP3")])
def test_a_rank_is_called_by_how_the_job_is_split(split: str | None, name: str) -> None:
    """A data-parallel rank is no tensor-parallel one."""
    process = Process(pid=5, tp_rank=3, tp_size=8, split=split)
    assert rank_name(process) == name
    assert _text(rank_cell(jobs_of(_frame([process]))[0])) == f"{name}/8"


def test_a_hidden_process_says_why_it_has_no_command() -> None:
    """Not a dash without a reason."""
    hidden = jobs_of(_frame([Process(pid=5, visible=False)]))[0]
    assert _text(command_cell(hidden)) == "not visible from here: another container, or gone"


def test_ids_are_cut_and_names_are_not() -> None:
    """The first digits of a pod's UUID are enough to search for; a name is shown as it is."""
    assert scheduler_words(Process(pid=5, pod="7562bd1b-dc12-59f7-3bda-7df24829b4b6")) == "pod 7562bd1b…"
    assert scheduler_words(Process(pid=5, pod="chat-7f9c")) == "pod chat-7f9c"
    assert scheduler_words(Process(pid=5, slurm_job="77", pod="x")) == "slurm 77"
    assert scheduler_words(Process(pid=5)) == ""
