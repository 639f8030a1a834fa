"""The imbalance score in the frame."""

import itertools

from msgspec import structs

from gpuwatch_agent.detectors.scores import score_of
from support.ranks import late, ranks, spinning
from support.windows import Story


def scores(story: Story) -> list[float | None]:
    return [gpu.imbalance_score for gpu in story.frame.gpus]


def test_it_rises_smoothly_with_what_the_rank_costs() -> None:
    """0 in step, a third at a tenth of the pace, three quarters at a quarter, towards 1."""
    assert [score_of(loss) for loss in (0.0, 0.1, 0.25, 0.5)] == [0.0, 0.298, 0.753, 0.981]
    rising = [score_of(loss / 100) for loss in range(100)]
    assert rising == sorted(rising)
    assert max(after - before for before, after in itertools.pairwise(rising)) < 0.05


def test_ranks_in_step_score_near_zero_and_a_late_one_stands_out() -> None:
    """Also before a finding is raised."""
    story = Story(ranks(4), [])
    story.passes(150)
    assert scores(story) == [0.0, 0.0, 0.0, 0.0]
    story.passes(25, late(2, pace=0.7))
    found = scores(story)
    assert found[2] is not None
    assert found[2] > 0.7
    assert [score for place, score in enumerate(found) if place != 2] == [0.0, 0.0, 0.0]


def test_only_ranks_at_work_have_a_score() -> None:
    """A GPU in no group, an idle group and one that spins have none."""
    story = Story([structs.replace(gpu, processes=None) for gpu in ranks(2)], [])
    story.passes(40)
    assert scores(story) == [None, None]
    story = Story(ranks(2), [])
    story.passes(40, spinning)
    assert scores(story) == [None, None]
