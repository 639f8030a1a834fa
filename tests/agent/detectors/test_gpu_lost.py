"""GPUs that are gone, and those that only want a reset."""

from msgspec import structs

from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.gpu_stale import GpuStaleDetector
from gpuwatch_agent.model.errors import GpuLostError, GpuNeedsResetError
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Trouble
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


GONE = Trouble(kind="driver_not_loaded", message="The driver is not loaded.", action="Load it.")


def all_stale(trouble: Trouble, gpus: list[Gpu] = GPUS) -> list[Finding]:
    story = Story(
        [structs.replace(gpu, state="stale", age_s=9.0) for gpu in gpus], [GpuLostDetector(), GpuStaleDetector()]
    )
    story.frame = structs.replace(story.frame, trouble=trouble)
    return story.passes(20)


def test_a_driver_that_goes_away_is_one_finding_with_all_gpus() -> None:
    """Not a word about single GPUs, and none that they are silent: the driver's own sentence is the cause."""
    (finding,) = all_stale(GONE)
    assert (finding.kind, finding.severity, finding.gpus) == ("gpu_lost", "critical", [0, 1])
    assert (finding.cause, finding.action) == ("The driver is not loaded.", "Load it.")
    assert finding.summary.startswith("None of the 2 GPUs of this node can be reached")


def test_a_driver_that_never_came_up_is_told_and_a_machine_without_any_is_not() -> None:
    """After a kernel update no row is left to name; where no driver is installed, or no GPU listed, nothing was lost."""
    (finding,) = all_stale(GONE, [])
    assert (finding.severity, finding.gpus) == ("critical", [])
    for kind in ("library_missing", "no_gpus"):
        assert all_stale(structs.replace(GONE, kind=kind), []) == []
        assert len(all_stale(structs.replace(GONE, kind=kind))) == 1


def test_a_sampler_in_trouble_is_not_the_driver() -> None:
    """It crashed or hangs and is started anew: the GPUs are silent and not lost."""
    (finding,) = all_stale(structs.replace(GONE, kind="sampler_crashed"))
    assert finding.kind == "gpu_stale"
