"""A simulated machine as the agent sees it: read by a rig, completed by the ledger, remembered, and judged."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from msgspec import structs

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.sampling.rig import Rig

NOON = 1_795_176_000.0


class SimulatedStory:
    """Close it, or use it in a `with`: a rig has threads."""

    def __init__(
        self,
        spec: str,
        detectors: Sequence[Detector[Any]] = DETECTORS,
        findings: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.now = NOON
        config = Config(findings=dict(findings or {}))
        hardware = SimulatedHardware(spec, clock=self._clock)
        self._ledger = Ledger(self._clock, self._clock)
        self._ledger.watch_xids(hardware.watch_xids(self._ledger.note_xid))
        self._rig = Rig(hardware, config, clock=self._clock, wall_clock=self._clock)
        self._rig.open()
        self.history = History()
        self.engine = Engine(config, self.history, detectors=detectors)
        self.frame: Frame | None = None

    def _clock(self) -> float:
        return self.now

    def passes(self, seconds: int) -> list[Finding]:
        """So many seconds, with a frame each; the findings of the last."""
        for _ in range(seconds):
            # The host is the one that runs the tests: a fresh boot of it is none of the simulated machine's.
            frame = structs.replace(self._ledger.complete(self._rig.read()), host=None)
            self.history.append(frame, self.now)
            self.frame = self.engine.judge(frame, self.now)
            self.now += 1.0
        assert self.engine.errors == {}
        assert self.frame is not None
        return self.frame.findings

    def close(self) -> None:
        self._rig.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
