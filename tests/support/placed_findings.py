"""A simulated machine as the agent sees it: read second by second, judged, with its findings at the end."""

from collections.abc import Sequence
from typing import Any

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0


def findings_on(
    machine: str, detectors: Sequence[Detector[Any]], seconds: int, findings: dict[str, dict[str, Any]] | None = None
) -> list[Finding]:
    """What is said of it after so many seconds."""
    now = NOON

    def clock() -> float:
        return now

    config, history = Config(findings=findings or {}), History()
    rig = Rig(SimulatedHardware(machine, clock=clock), config, clock=clock, wall_clock=clock)
    rig.open()
    frame = rig.read()
    placements = rig.placements()
    topology = build_topology(frame.gpus, placements, node="n", taken_at=now, simulated=True)
    engine = Engine(config, history, detectors=detectors, topology=lambda: topology)
    for _ in range(seconds):
        now += 1
        frame = rig.read()
        history.append(frame, now)
        frame = engine.judge(frame, now)
    rig.close()
    assert engine.errors == {}
    return frame.findings
