"""The imbalance score: how far each rank of a group is from its siblings, 0 for in step."""

from gpuwatch_agent.detectors.window import Window


def imbalance_scores(window: Window) -> dict[str, float]:
    """Scores by UUID, for the GPUs of groups that work in step."""
    del window
    return {}
