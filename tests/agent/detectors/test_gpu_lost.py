"""GPUs that are gone, and those that only want a reset."""

from msgspec import structs

from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.model.errors import GpuLostError, GpuNeedsResetError
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Xid
from support.windows import Story

GPUS = [Gpu(index=index, uuid=f"GPU-{index}") for index in range(2)]


def told(problem: str, xids: list[Xid] | None = None, seconds: int = 5) -> list[Finding]:
    lost = structs.replace(GPUS[1], state="lost", problem=problem, xids=xids)
    return Story([GPUS[0], lost], [GpuLostDetector()]).passes(seconds)


def test_a_lost_gpu_is_critical_and_its_xid_the_cause() -> None:
    """Xid 79 says what happened; what to do is a power cycle."""
    (finding,) = told(str(GpuLostError()), [Xid(code=79, count=1, last_seen=0.0)])
    assert (finding.severity, finding.gpus) == ("critical", [1])
    assert str(finding.cause).startswith("Xid 79")
    assert "power-cycle" in finding.action


def test_a_gpu_may_leave_without_an_xid() -> None:
    """That none was seen is told only where somebody watched."""
    (finding,) = told(f"The driver no longer lists it. {GpuLostError()}", [])
    assert str(finding.cause).startswith("The driver no longer lists it.")
    assert str(finding.cause).endswith("No Xid was seen.")
    (finding,) = told(str(GpuLostError()))
    assert "Xid" not in str(finding.cause)


def test_a_gpu_that_wants_a_reset_is_told_apart() -> None:
    """Nobody has to open the machine for that."""
    (finding,) = told(str(GpuNeedsResetError()), [Xid(code=154, count=1, last_seen=0.0)])
    assert "wants it reset" in finding.summary
    assert "--gpu-reset" in finding.action
    assert "Xid 154" in str(finding.cause)


def test_a_moment_is_not_said() -> None:
    """Two seconds of patience: the list of GPUs is read anew after a reset."""
    assert told(str(GpuLostError()), seconds=2) == []
