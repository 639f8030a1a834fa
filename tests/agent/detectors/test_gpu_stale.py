"""GPUs of which the driver does not answer."""

from msgspec import structs

from gpuwatch_agent.detectors.gpu_stale import GpuStaleDetector
from gpuwatch_agent.model.gpu import Gpu
from support.windows import Change, Story

GPUS = [Gpu(index=index, uuid=f"GPU-{index}") for index in range(3)]


def silent(*indices: int, known: bool = True) -> Change:
    def change(gpu: Gpu, second: int) -> Gpu:
        if gpu.index not in indices:
            return gpu
        age = float(second) if known else None
        return structs.replace(
            gpu, state="stale", age_s=age, problem="The driver has not answered while reading power."
        )

    return change


def test_a_silent_gpu_is_a_warning_then_critical() -> None:
    """After a minute; the sentence says for how long, the cause where it hangs."""
    story = Story(GPUS, [GpuStaleDetector()])
    (finding,) = story.passes(30, silent(1))
    assert (finding.severity, finding.gpus) == ("warning", [1])
    assert "while reading power" in str(finding.cause)
    (finding,) = story.passes(40, silent(1))
    assert finding.severity == "critical"
    assert "69 s" in finding.summary


def test_a_gpu_that_never_answered_is_silent_since_we_watch() -> None:
    """Its age is unknown, its silence is not."""
    (finding,) = Story(GPUS, [GpuStaleDetector()]).passes(70, silent(1, known=False))
    assert finding.severity == "critical"


def test_all_gpus_silent_is_one_finding() -> None:
    """Then it is the driver or the sampler; lost ones do not count."""
    (finding,) = Story(GPUS, [GpuStaleDetector()]).passes(20, silent(0, 1, 2))
    assert finding.gpus == [0, 1, 2]
    gpus = [*GPUS, Gpu(index=3, uuid="GPU-3", state="lost")]
    (finding,) = Story(gpus, [GpuStaleDetector()]).passes(20, silent(0, 1, 2))
    assert finding.gpus == [0, 1, 2]


def test_a_slow_moment_is_not_said_and_an_answer_ends_it() -> None:
    """Five seconds of patience; ten of calm."""
    story = Story(GPUS, [GpuStaleDetector()])
    assert story.passes(4, silent(1)) == []
    assert story.passes(20) == []
    assert len(story.passes(10, silent(1))) == 1
    assert story.passes(12) == []
