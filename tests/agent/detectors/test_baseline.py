"""What a GPU is like when it works: its own job's past, and no fault's."""

from msgspec import structs

from gpuwatch_agent.detectors.baseline import busy_baseline, job_age_s
from gpuwatch_agent.model.gpu import Gpu
from support.ranks import late, ranks, worker
from support.windows import START, Story


def test_an_earlier_jobs_past_is_no_yardstick() -> None:
    """Since the youngest of the group's processes started, and an hour where that is not known."""
    (gpu, _) = ranks(2)
    young = structs.replace(gpu, processes=[structs.replace(worker(0), started_at=START - 90)])
    assert job_age_s(young, START) == 90
    assert job_age_s(structs.replace(gpu, processes=None), START) == 3600

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, power_w=300.0 if second < 200 else 600.0)

    story = Story(ranks(2), [])
    story.passes(400, change)
    baseline = busy_baseline(story.history, "GPU-0", 190)
    assert baseline is not None
    assert baseline.power_w == 600.0


def test_while_a_group_limps_the_yardstick_stays() -> None:
    """The waiting ranks' low power must not become what is usual for them."""
    from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector

    story = Story(ranks(4, activity=False), [TpImbalanceDetector()])
    story.passes(180)
    story.passes(1200, late(2, pace=0.7))
    (finding,) = story.frame.findings
    assert finding.gpus == [2]
    assert float(finding.evidence["bytes_against_usual"] or 0) < 0.75
