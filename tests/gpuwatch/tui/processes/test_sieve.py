"""What is typed into the filter line, and which processes pass."""

import pytest

from gpuwatch.render.job_cells import Job, Part, job_of
from gpuwatch.tui.processes.sieve import sieve_of
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process


def job(pid: int, *gpus: int, **told: object) -> Job:
    """A process on these GPUs."""
    process = Process(pid=pid, **told)  # type: ignore[arg-type]  # the caller names fields
    return job_of([Part(Gpu(index=index, uuid=f"GPU-{index}", state="ok"), process) for index in gpus])


JOBS = [
    job(4120, 0, user="ann", command="VLLM::Worker_TP0", tp_rank=0, tp_group="vllm:llama@9", pod="chat-7f9c"),
    job(4121, 1, user="ann", command="VLLM::Worker_TP1", tp_rank=1, tp_group="vllm:llama@9", pod="chat-7f9c"),
    job(900, 2, 3, user="annette", command="/usr/bin/python3 train.py", slurm_job="77"),
    job(901, 5, visible=False),
]


@pytest.mark.parametrize(
    ("text", "pids"),
    [
        ("", [4120, 4121, 900, 901]),
        ("worker", [4120, 4121]),
        ("TRAIN", [900]),
        ("VLLM::Worker_TP1", [4121]),
        ("user:ann", [4120, 4121, 900]),
        ("user:annette", [900]),
        ("user:", [4120, 4121, 900, 901]),
        ("gpu:3", [900]),
        ("gpu:0-2", [4120, 4121, 900]),
        ("gpu:1,5", [4121, 901]),
        ("gpu:1-", [4121]),
        ("pid:41", [4120, 4121]),
        ("pid:900", [900]),
        ("job:77", [900]),
        ("job:slurm", [900]),
        ("job:CHAT", [4120, 4121]),
        ("job:llama", [4120, 4121]),
        ("rank:1", [4121]),
        ("rank:tp0", [4120]),
        ("user:ann gpu:1 worker", [4121]),
        ("!worker", [900, 901]),
        ("!user:ann", [901]),
        ("nothing:known", []),
    ],
)
def test_only_what_is_asked_for_passes(text: str, pids: list[int]) -> None:
    """Each word and key narrows the list; all of them must hold."""
    sieve = sieve_of(text)
    assert [one.process.pid for one in JOBS if sieve.passes(one)] == pids
    assert sieve.mistake is None


@pytest.mark.parametrize("text", ["gpu:x", "gpu:1-b", "pid:abc", "rank:first", "gpu:99999999999"])
def test_what_is_not_understood_is_said_and_hides_nothing(text: str) -> None:
    """A mistake is words, and the rest of the line holds."""
    sieve = sieve_of(f"{text} user:annette")
    assert sieve.mistake is not None
    assert [one.process.pid for one in JOBS if sieve.passes(one)] == [900]


def test_a_huge_range_costs_nothing() -> None:
    """gpu:0-9999 is no list of all numbers there are."""
    sieve = sieve_of("gpu:0-99999")
    assert len([one for one in JOBS if sieve.passes(one)]) == 4
