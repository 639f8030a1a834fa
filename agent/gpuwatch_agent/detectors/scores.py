"""The imbalance score: how far each rank of a working group is from its siblings, 0 in step, 1 fully out.

It is 1 - exp(-(loss / 0.2) ^ 1.5), the loss being the share of its pace that the group loses to this rank: 0.3 at a
tenth, 0.75 at a quarter, 0.98 at a half. It moves smoothly, also below the thresholds of `tp_imbalance`.
"""

import math

from gpuwatch_agent.detectors.lateness import late_ranks
from gpuwatch_agent.detectors.lockstep import working
from gpuwatch_agent.detectors.window import Window

_SCALE = 0.2
_STEEPNESS = 1.5


def imbalance_scores(window: Window) -> dict[str, float]:
    """Scores by UUID, for the GPUs of groups that work in step; of a GPU in two groups, the worse."""
    scores: dict[str, float] = {}
    for group in window.groups:
        at_work = working(window, group)
        if at_work is None:
            continue
        for one in late_ranks(at_work):
            uuid = one.rank.view.uuid
            scores[uuid] = max(scores.get(uuid, 0.0), score_of(one.lag))
    return scores


def score_of(loss: float) -> float:
    """0 for no loss, towards 1 as it grows."""
    return round(1.0 - math.exp(-((max(0.0, loss) / _SCALE) ** _STEEPNESS)), 3)
