"""A stranger on a GPU of a working group."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.noisy_neighbour import NoisyNeighbourDetector
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from support.ranks import GIB, ranks
from support.windows import Change, Story

DETECTORS = [NoisyNeighbourDetector()]


def stranger(*indices: int, sm_pct: float | None = 20.0, gib: float = 1.5, kind: str = "compute") -> Change:
    def change(gpu: Gpu, second: int) -> Gpu:
        if gpu.index not in indices:
            return gpu
        own = Process(
            pid=500 + gpu.index,
            user="mallory",
            name="python3",
            command=f"python3 x.py --gpu {gpu.index}",
            sm_pct=sm_pct,
            memory_bytes=int(gib * GIB),
            kind=kind,
        )
        return structs.replace(gpu, processes=[*(gpu.processes or []), own])

    return change


@pytest.mark.parametrize(
    ("sm_pct", "gib", "severity"), [(20.0, 1.5, "warning"), (6.0, 1.5, "info"), (0.0, 8.0, "info"), (None, 8.0, "info")]
)
def test_a_stranger_that_takes_sms_or_memory_is_named(sm_pct: float | None, gib: float, severity: str) -> None:
    """With PID and user, and as serious as what it takes."""
    (finding,) = Story(ranks(4), DETECTORS).passes(30, stranger(2, sm_pct=sm_pct, gib=gib))
    assert (finding.gpus, finding.severity, finding.evidence["foreign_pid"]) == ([2], severity, 502)
    assert "mallory" in finding.summary


def test_memory_that_leaves_no_room_is_a_warning() -> None:
    """The group's own rank is the next to fail."""
    gpus = [structs.replace(gpu, memory_used_bytes=79 * GIB) for gpu in ranks(4)]
    (finding,) = Story(gpus, DETECTORS).passes(30, stranger(1, sm_pct=0.0, gib=10.0))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "change",
    [
        stranger(0, 1, 2, 3),
        stranger(0, 1, 2),
        stranger(1, sm_pct=0.0, gib=0.3),
        stranger(1, sm_pct=50.0, kind="mps"),
        lambda gpu, s: structs.replace(stranger(1)(gpu, s), utilization_pct=0.0),
        lambda gpu, s: structs.replace(stranger(1)(gpu, s), state="stale"),
    ],
)
def test_no_noise_is_not_told(change: Change) -> None:
    """Services alike on most GPUs, an idle notebook, the MPS server, a group without work, a GPU that does not answer."""
    assert Story(ranks(4), DETECTORS).passes(60, change) == []


def test_it_lasts_while_the_share_hovers_and_ends_with_the_program() -> None:
    """Driver samples of a process's share are coarse."""
    told = Story(ranks(4), DETECTORS)
    assert len(told.passes(30, stranger(2, sm_pct=8.0))) == 1
    assert len(told.passes(100, stranger(2, sm_pct=4.0))) == 1
    told.passes(60)
    assert told.frame.findings == []


def test_processes_that_may_not_be_seen_are_nobody() -> None:
    """No list is no evidence."""
    gpus = [structs.replace(gpu, processes=None) for gpu in ranks(4)]
    assert Story(gpus, DETECTORS, None, {"mine": [0, 1, 2, 3]}).passes(60) == []
