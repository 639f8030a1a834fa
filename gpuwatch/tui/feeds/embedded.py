"""This machine, or a simulated one, by an agent inside the dashboard's process; its sampler is a process of its own."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from gpuwatch.tui.feeds.base import TakeFrame, forget
from gpuwatch.tui.moment import FeedState
from gpuwatch_agent.agent import Agent
from gpuwatch_agent.config import Config
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.topology import Topology

# Links are read every ten seconds: asking for the matrix with every frame would only work it out anew.
_TOPOLOGY_EVERY_S = 5.0


class EmbeddedFeed:
    """Runs the agent, without its API."""

    def __init__(self, config: Config) -> None:
        self._agent = Agent(config)
        self.history: History = self._agent.history
        self.state = FeedState(kind="embedded")
        self.interval_s = config.sampling.interval_s
        self._topology: Topology | None = None

    async def run(self, deliver: TakeFrame, changed: Callable[[], None], recall: TakeFrame = forget) -> None:
        """Deliver every frame the agent publishes; ends the sampler when cancelled."""
        del changed, recall
        sampling = asyncio.create_task(self._agent.run())
        sampling.add_done_callback(lambda _: self._agent.hub.close())
        sequence = 0
        try:
            while (published := await self._agent.hub.wait_newer(sequence)) is not None:
                sequence = published.sequence
                deliver(published.frame)
            await sampling
        finally:
            sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampling

    def events(self) -> Sequence[FindingEvent]:
        """What the agent's detectors raised and cleared."""
        return self._agent.findings.events

    def topology(self) -> Topology | None:
        """The wiring, at most some seconds old."""
        newest = self._agent.hub.latest
        known = self._topology
        if known is None or newest is None or not 0 <= newest.taken_at - known.taken_at < _TOPOLOGY_EVERY_S:
            self._topology = self._agent.topology()
        return self._topology

    async def set_interval(self, interval_s: float) -> bool:
        """Sample at that pace from now on."""
        self.interval_s = interval_s
        self._agent.set_interval(interval_s)
        return True
