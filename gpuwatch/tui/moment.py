"""What all screens show: one frozen moment, live or in the past."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from gpuwatch.tui.memberships import Memberships
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

FeedKind = Literal["embedded", "local", "remote", "recording", "none"]
"""`local` is the agent of this machine, asked over HTTP; `none`: several are to choose from and none is chosen yet."""


class FeedState(Struct, frozen=True, kw_only=True):
    """How the frames come in."""

    kind: FeedKind
    where: str = ""
    """The agent's URL, or the recording's path."""
    connected: bool = True
    problem: str | None = None
    """One sentence while nothing comes in."""
    lost_at: float | None = None
    """Wall clock of when the connection was lost."""


class Moment(Struct, frozen=True, kw_only=True):
    """A frame and what is known around it; panels draw from this and from nothing else."""

    frame: Frame
    history: History
    events: Sequence[FindingEvent] = ()
    """What was raised and cleared, the newest last, up to now (not up to the moment shown)."""
    topology: Topology | None = None
    feed: FeedState
    now: float
    """Wall clock when this was made."""
    newest_at: float
    """When the newest frame was taken; later than the frame shown where time was turned back."""
    oldest_at: float
    paused: bool = False
    interval_s: float = 1.0
    memberships: Memberships = field(default_factory=Memberships)
    """Who belonged to which group while it still answered."""

    @property
    def behind_s(self) -> float:
        """How far back in time the moment lies from the newest frame."""
        return max(0.0, self.newest_at - self.frame.taken_at) if self.paused else 0.0

    def groups(self) -> list[Group]:
        """The groups of more than one GPU, in the order of their first; a lost GPU stays in its own."""
        return self.memberships.groups(self.frame)

    def gpu(self, uuid: str | None) -> Gpu | None:
        """The GPU of that UUID."""
        return next((gpu for gpu in self.frame.gpus if gpu.uuid == uuid), None)

    def recent(self, uuid: str, metric: str, seconds: float) -> Sequence[float]:
        """The values up to the moment shown, one a second, the newest last, gaps as NaN; shorter where history is."""
        behind = round(self.behind_s / self.history.step_s)
        values = self.history.recent(uuid, metric, seconds + behind * self.history.step_s)
        return values[: len(values) - behind] if behind else values
