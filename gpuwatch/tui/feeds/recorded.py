"""Frames that were taken before: a recording, delivered at once up to its end."""

from collections.abc import Callable, Sequence

from gpuwatch.tui.feeds.base import TakeFrame, forget
from gpuwatch.tui.moment import FeedKind, FeedState
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology


class RecordedFeed:
    """Plays to the last frame and stays there; what is further to come is given with `play`."""

    def __init__(
        self,
        frames: Sequence[Frame],
        *,
        events: Sequence[FindingEvent] = (),
        topology: Topology | None = None,
        kind: FeedKind = "recording",
        where: str = "",
    ) -> None:
        self._frames = list(frames)
        self._events = list(events)
        self._topology = topology
        self._deliver: Callable[[Frame], None] | None = None
        self.history = History()
        self.state = FeedState(kind=kind, where=where)
        self.interval_s = 1.0

    async def run(self, deliver: TakeFrame, changed: Callable[[], None], recall: TakeFrame = forget) -> None:
        """Deliver all there is."""
        del changed, recall
        self._deliver = deliver
        frames, self._frames = self._frames, []
        for frame in frames:
            self.play(frame)

    def play(self, frame: Frame) -> None:
        """One more frame, as if it had just been taken."""
        # A recording's only clock is the one on its frames.
        self.history.append(frame, frame.taken_at)
        if self._deliver is not None:
            self._deliver(frame)

    def events(self) -> Sequence[FindingEvent]:
        """Those given, as far as time has come."""
        return self._events

    def topology(self) -> Topology | None:
        """The one given."""
        return self._topology

    async def set_interval(self, interval_s: float) -> bool:
        """What was recorded has its pace."""
        del interval_s
        return False
