"""What is true of an episode, whoever judges it."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from gpuwatch_agent.config import Config
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology

COSTLY = 0.10
"""From this loss of pace on, an imbalance must be found."""
NOTICEABLE = 0.03
"""From this loss on it is true to speak of an imbalance, though nobody has to."""

NO_CAUSE = "(none)"
"""Among the causes of a truth: it is right to name none."""


class Truth(Struct, frozen=True, kw_only=True):
    """One thing that is wrong for a while."""

    kind: str
    gpus: frozenset[int]
    """The culprits."""
    group: frozenset[int] = frozenset()
    """Who else may be named with them."""
    causes: tuple[str, ...] = ()
    """Words of which one must be said; empty where the kind is its own cause."""
    starts_s: float
    """Whoever says it earlier is wrong."""
    onset_s: float
    """From when on it is there by its definition: the time to detect counts from here."""
    ends_s: float | None = None
    cost: float | None = None
    """The part of its pace that the job lost."""
    required: bool = True
    """Whether it must be found; where not, it is no error to say it."""
    least: Severity = "warning"
    fault: str
    """What was done to the world."""


class World(Protocol):
    """A machine that plays one episode."""

    seconds: int
    gpus: int
    config: Config

    def play(self) -> Iterator[tuple[float, Frame]]:
        """Monotonic seconds and frames, as the sampler would send them."""

    def topology(self) -> Topology | None:
        """How the GPUs are wired, once frames have come."""

    def truths(self) -> list[Truth]:
        """What was wrong; to be asked after the play."""


class Episode(Struct, frozen=True, kw_only=True):
    """One question of the exam."""

    name: str
    seed: str
    world: World
    healthy: bool
    """Whether nothing at all is wrong in it: its hours count for the rate of false alarms."""
