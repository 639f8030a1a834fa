"""A simulated machine as the agent sees it: read by a rig, completed by the ledger, remembered, and judged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from msgspec import structs

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0
Disturb = Callable[[Frame, int], Frame | None]
"""What becomes of the sampler's frame of that second on its way; `None` where it does not arrive."""


class SimulatedStory:
    """Close it, or use it in a `with`: a rig has threads."""

    def __init__(
        self,
        spec: str,
        detectors: Sequence[Detector[Any]] = DETECTORS,
        findings: Mapping[str, dict[str, Any]] | None = None,
        groups: Mapping[str, list[int]] | None = None,
        disturb: Disturb = lambda frame, _: frame,
    ) -> None:
        self.now = NOON
        config = Config(findings=dict(findings or {}), groups=dict(groups or {}))
        hardware = SimulatedHardware(spec, clock=self._clock)
        self._disturb = disturb
        self._ledger = Ledger(self._clock, self._clock)
        self._ledger.watch_xids(hardware.watch_xids(self._ledger.note_xid))
        self._rig = Rig(hardware, config, clock=self._clock, wall_clock=self._clock)
        self._rig.open()
        self.history = History()
        self.engine = Engine(config, self.history, detectors=detectors, topology=self._topology)
        self.frame: Frame | None = None

    def _clock(self) -> float:
        return self.now

    def _topology(self) -> Topology | None:
        if self.frame is None:
            return None
        return build_topology(self.frame.gpus, self._rig.placements(), node="n", taken_at=self.now, simulated=True)

    @property
    def findings(self) -> list[Finding]:
        """Those of the last frame."""
        return self.frame.findings if self.frame is not None else []

    @property
    def events(self) -> list[FindingEvent]:
        """All that was raised, changed and cleared."""
        return list(self.engine.events)

    def raised_after_s(self, kind: str) -> float | None:
        """Seconds from the start to the first finding of a kind."""
        return next((one.at - NOON for one in self.events if one.event == "raised" and one.finding.kind == kind), None)

    def passes(self, seconds: int) -> list[Finding]:
        """So many seconds, with a frame each; the findings of the last."""
        for _ in range(seconds):
            arrived = self._disturb(self._rig.read(), round(self.now - NOON))
            if arrived is not None:
                # The host is the one that runs the tests: a fresh boot of it is none of the simulated machine's.
                frame = structs.replace(self._ledger.complete(arrived), host=None)
                self.history.append(frame, self.now)
                self.frame = self.engine.judge(frame, self.now)
            self.now += 1.0
        assert self.engine.errors == {}
        return self.findings

    def close(self) -> None:
        self._rig.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def story_of(
    spec: str,
    seconds: int,
    detectors: Sequence[Detector[Any]] = DETECTORS,
    findings: Mapping[str, dict[str, Any]] | None = None,
) -> SimulatedStory:
    """A story that is over: what is left are its findings and events."""
    with SimulatedStory(spec, detectors, findings) as story:
        story.passes(seconds)
    return story
