"""Where the dashboard's frames come from."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gpuwatch.tui.moment import FeedState
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology

TakeFrame = Callable[[Frame], None]


def forget(frame: Frame) -> None:
    """Takes a frame of the past where nobody keeps them."""
    del frame


class Feed(Protocol):
    """Something that delivers one node's frames; lives on the dashboard's event loop and never blocks it."""

    history: History
    """Holds every frame that was delivered, before it is delivered."""
    state: FeedState
    interval_s: float

    async def run(self, deliver: TakeFrame, changed: Callable[[], None], recall: TakeFrame = forget) -> None:
        """Deliver frames until cancelled; `changed` is called when `state` has become another.

        `recall` takes frames from before the oldest that was delivered, each older than the one before it.
        """

    def events(self) -> Sequence[FindingEvent]:
        """Findings raised and cleared, the newest last."""

    def topology(self) -> Topology | None:
        """How the GPUs are wired, once known."""

    async def set_interval(self, interval_s: float) -> bool:
        """Ask for another pace; False where it is not ours to set (a remote agent's)."""
