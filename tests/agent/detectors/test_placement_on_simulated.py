"""Findings about hardware, placement and idle memory on simulated machines, read through the sampler's rig."""

from typing import Any

import pytest

from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.idle_allocation import IdleAllocationDetector
from gpuwatch_agent.detectors.mixed_hardware import MixedHardwareDetector
from gpuwatch_agent.detectors.slow_placement import SlowPlacementDetector
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from support.simulated_story import story_of

DETECTORS: list[Detector[Any]] = [MixedHardwareDetector(), SlowPlacementDetector(), IdleAllocationDetector()]
IMPATIENT = {
    "mixed_hardware": {"raise_after_s": 5.0},
    "slow_placement": {"raise_after_s": 60.0},
    "idle_allocation": {"raise_after_s": 60.0, "warn_after_s": 80.0},
}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_healthy_machine_is_left_in_peace(machine: str) -> None:
    """Not even info, for ten minutes and with little patience, on every machine that is simulated."""
    assert story_of(machine, 600, DETECTORS, IMPATIENT).findings == []


def test_a_lowered_power_limit_in_a_group() -> None:
    """The board that was limited is the odd one."""
    (finding,) = story_of("dgx-h100-8+power-cap@5", 20, DETECTORS, IMPATIENT).findings
    assert (finding.kind, finding.gpus) == ("mixed_hardware", [5])


def test_a_training_job_that_does_nothing() -> None:
    """Its whole group is idle: a warning after a while, with user and job."""
    (finding,) = story_of("dgx-v100-8+idle-allocation@all", 120, DETECTORS, IMPATIENT).findings
    assert (finding.kind, finding.severity, finding.gpus) == ("idle_allocation", "warning", list(range(8)))
    assert finding.evidence["slurm_job"] == "417733"


def test_an_engine_without_requests() -> None:
    """Info for as long as it lasts."""
    (finding,) = story_of("h200-8+idle-allocation@all", 120, DETECTORS, IMPATIENT).findings
    assert (finding.kind, finding.severity, len(finding.gpus)) == ("idle_allocation", "info", 8)
