"""Groups on simulated machines, read by a real rig: faults are found with their cause, healthy machines stay silent."""

import pytest
from msgspec import structs

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.detectors.memory_imbalance import MemoryImbalanceDetector
from gpuwatch_agent.detectors.noisy_neighbour import NoisyNeighbourDetector
from gpuwatch_agent.detectors.tp_imbalance import TpImbalanceDetector
from gpuwatch_agent.detectors.tp_stalled import TpStalledDetector
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.sampling.rig import Rig

NOON = 1_795_176_000.0
DETECTORS = (TpImbalanceDetector(), TpStalledDetector(), MemoryImbalanceDetector(), NoisyNeighbourDetector())


def watch(machine: str, seconds: int) -> tuple[list[FindingEvent], list[Finding], float]:
    """What is told in so many seconds, what stands at the end, and the true pace of the slowest job then."""
    now = NOON

    def clock() -> float:
        return now

    hardware = SimulatedHardware(machine, clock=clock)
    rig = Rig(hardware, Config(), clock=clock, wall_clock=clock)
    history = History()
    engine = Engine(Config(), history, detectors=DETECTORS)
    rig.open()
    frame = None
    for _ in range(seconds):
        frame = structs.replace(rig.read(), host=None)
        history.append(frame, now)
        frame = engine.judge(frame, now)
        now += 1
    pace = min((job.pace for job in hardware.jobs()), default=1.0)
    rig.close()
    assert engine.errors == {}
    return list(engine.events), frame.findings if frame is not None else [], pace


@pytest.mark.parametrize(
    ("fault", "gpu", "cause"),
    [
        ("dgx-h100-8+hot@5=0.6~20", 5, "thermal_throttle"),
        ("dgx-h100-8+slow-rank@3~20", 3, "unknown"),
        ("dgx-h100-8+power-brake@2~20", 2, "power_brake"),
        ("dgx-a100-8+power-cap@6~20", 6, "power_limit"),
        ("dgx-a100-8+noisy-neighbour@1~20", 1, "noisy_neighbour"),
        ("4x3090-bridged+pcie-slow@2~20", 2, "pcie_link"),
        ("dgx-v100-8+slow-rank@4~20", 4, "unknown"),
    ],
)
def test_a_fault_is_found_with_culprit_and_cause_and_cost(fault: str, gpu: int, cause: str) -> None:
    """Within a minute and a half of a fault that starts as the agent does."""
    _, standing, pace = watch(fault, 100)
    (finding,) = [one for one in standing if one.kind == "tp_imbalance"]
    assert (finding.gpus, finding.evidence["cause_kind"]) == ([gpu], cause)
    assert finding.severity in {"warning", "critical"}
    assert finding.evidence["pace_estimated"] == pytest.approx(pace, abs=0.15)


@pytest.mark.parametrize(
    ("fault", "kind", "gpus"),
    [
        ("dgx-h100-8+stuck@3~40", "tp_stalled", list(range(8))),
        ("dgx-a100-8+memory-imbalance@5", "memory_imbalance", [5]),
        ("dgx-h100-8+noisy-neighbour@7~20", "noisy_neighbour", [7]),
    ],
)
def test_stalls_strangers_and_uneven_memory_are_found(fault: str, kind: str, gpus: list[int]) -> None:
    """Each by its own kind."""
    _, standing, _ = watch(fault, 90)
    assert [finding.gpus for finding in standing if finding.kind == kind] == [gpus]


@pytest.mark.parametrize("machine", MACHINES)
def test_ten_minutes_of_health_are_silent(machine: str) -> None:
    """No finding of these kinds, not even information, on any machine."""
    told, _, _ = watch(machine, 600)
    assert told == []
