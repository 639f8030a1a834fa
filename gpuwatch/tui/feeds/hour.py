"""Asks an agent for its last hour, in answers small enough for it."""

from collections.abc import Sequence

from gpuwatch.client import AgentClient, AgentRefusesError
from gpuwatch.tui.feeds.past import Past
from gpuwatch_agent.history import MOST_VALUES, HistoryAnswer
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS

# The last minutes second by second, what lies before in steps that a chart of an hour still shows whole.
NEAR_S, FAR_S, FAR_STEP_S = 600.0, 3600.0, 5.0
# An agent of a later release may have more metrics than this one knows.
_MOST_METRICS = 2 * len(GPU_SPECS)


async def fetch_past(
    client: AgentClient, like: Frame, events: Sequence[FindingEvent], *, seconds: float, step_s: float
) -> Past:
    """The node's last so many seconds; empty where the agent knows none of the GPUs."""
    uuids = [gpu.uuid for gpu in like.gpus]
    if not uuids:
        return Past([], like, events)
    at_once = max(1, int(MOST_VALUES / (_MOST_METRICS * seconds / step_s)))
    span = {"seconds": f"{seconds:g}", "step": f"{step_s:g}"}
    answers: list[HistoryAnswer] = []
    for first in range(0, len(uuids), at_once):
        answers += await _ask(client, {**span, "gpus": ",".join(uuids[first : first + at_once])})
    answers += await _ask(client, {**span, "metrics": ",".join(spec.name for spec in HOST_SPECS)})
    return Past(answers, like, events)


async def _ask(client: AgentClient, parameters: dict[str, str]) -> list[HistoryAnswer]:
    """One answer; none where the agent does not know what is asked for, as another release may."""
    try:
        return [await client.get("/v1/history", HistoryAnswer, parameters)]
    except AgentRefusesError:
        return []
