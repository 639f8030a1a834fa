"""What given detectors say of a simulated machine, read second by second as the agent reads it."""

from collections.abc import Sequence
from typing import Any

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.sampling.rig import Rig

BEGUN = 1_795_176_000.0


class SimulatedRun:
    """A machine over time; `findings` are those at the end, `events` all that was raised and cleared."""

    def __init__(self, machine: str, seconds: int, detectors: Sequence[Detector[Any]]) -> None:
        now = BEGUN

        def clock() -> float:
            return now

        history = History()
        engine = Engine(Config(), history, detectors=detectors)
        rig = Rig(SimulatedHardware(machine, clock=clock), Config(), clock=clock, wall_clock=clock)
        rig.open()
        self.findings: list[Finding] = []
        for _ in range(seconds):
            frame = rig.read()
            history.append(frame, now)
            self.findings = engine.judge(frame, now).findings
            now += 1
        rig.close()
        assert engine.errors == {}
        self.events: list[FindingEvent] = list(engine.events)

    def raised_after_s(self, kind: str) -> float | None:
        """Seconds from the start to the first finding of a kind."""
        return next((one.at - BEGUN for one in self.events if one.event == "raised" and one.finding.kind == kind), None)
