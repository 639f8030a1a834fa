"""What a detector is: a pure function of a window of frames that says what looks wrong at this moment.

Whether it has looked wrong for long enough to be said aloud is the engine's business (`engine`): it holds a suspicion
back until it has lasted `raise_after_s`, and drops a finding when it has not been suspected for `clear_after_s`.
"""

from typing import Annotated, ClassVar, Generic, Protocol, TypeVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.window import Window
from gpuwatch_agent.model.finding import Severity


class DetectorSettings(Struct, frozen=True, kw_only=True):
    """What can be set of every kind of finding; a detector adds its thresholds in a struct of its own."""

    enabled: Annotated[bool, Meta(description="Whether this kind of finding is looked for at all.")] = True
    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 10.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 30.0
    unseen_s: Annotated[
        float,
        Meta(
            description="So many seconds it may go unseen, as where readings drop out, before its time starts afresh; each "
            "second in which it was seen wins a quarter of one back.",
            ge=0,
            le=86400,
        ),
    ] = 5.0
    boot_grace_s: Annotated[
        float, Meta(description="After the machine's start nothing of this kind is said for so long.", ge=0, le=86400)
    ] = 0.0

    ascending: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of settings of which the first may not be above the second."""

    def contradictions(self) -> list[str]:
        """Which settings can't hold together, as `warning_loss (0.3) is above critical_loss (0.25)`."""
        pairs = [(low, high, getattr(self, low), getattr(self, high)) for low, high in self.ascending]
        return [
            f"{low} ({lesser:g}) is above {high} ({greater:g})"
            for low, high, lesser, greater in pairs
            if lesser > greater
        ]

    def least_watch_s(self) -> float:
        """How long somebody who knows nothing of the past must watch before such a finding can be made; 0 for any time."""
        return 0.0


class Suspicion(Struct, frozen=True, kw_only=True):
    """Something that looks wrong now; suspicions of one kind with one `key` are one and the same over time."""

    key: str
    """A GPU's UUID, a group's id, or both with what is wrong, as `GPU-…/link 11`."""
    severity: Severity
    gpus: list[int]
    summary: str
    """One plain sentence, with the numbers that matter, no more than about 160 characters."""
    cause: str | None = None
    evidence: dict[str, float | int | str | None] = {}
    action: str
    since: float | None = None
    """Unix seconds, where the detector knows better than the moment of the first suspicion."""
    certain: bool = False
    """True where one look is proof (the driver's own verdict): it is said at once."""


SettingsT_contra = TypeVar("SettingsT_contra", bound=DetectorSettings, contravariant=True)


class Detector(Protocol, Generic[SettingsT_contra]):
    """One kind of finding. It keeps nothing between two calls: all it may know is in the window."""

    kind: ClassVar[str]
    settings: ClassVar[type[DetectorSettings]]

    def detect(self, window: Window, settings: SettingsT_contra, raised: frozenset[str]) -> list[Suspicion]:
        """What looks wrong; `raised` are the keys already said aloud, which may be judged more leniently (hysteresis)."""
