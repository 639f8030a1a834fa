"""Where several nodes are to choose from and none is chosen yet."""

import asyncio
from collections.abc import Callable, Sequence

from gpuwatch.tui.feeds.base import TakeFrame, forget
from gpuwatch.tui.moment import FeedState
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.topology import Topology


class UnchosenFeed:
    """Delivers nothing, and says how to choose."""

    def __init__(self) -> None:
        self.history = History(seconds=1)
        self.state = FeedState(kind="none", connected=False, problem="No node is chosen yet: key 8 lists them.")
        self.interval_s = 1.0

    async def run(self, deliver: TakeFrame, changed: Callable[[], None], recall: TakeFrame = forget) -> None:
        """Wait to be replaced."""
        del deliver, recall
        changed()
        await asyncio.Event().wait()

    def events(self) -> Sequence[FindingEvent]:
        """None."""
        return ()

    def topology(self) -> Topology | None:
        """None."""
        return None

    async def set_interval(self, interval_s: float) -> bool:
        """There is nobody to ask."""
        del interval_s
        return False
