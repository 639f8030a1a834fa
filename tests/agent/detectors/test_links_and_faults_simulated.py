"""Whole machines, read as the agent reads them: each fault is found, and healthy machines are left in peace."""

import pytest

from gpuwatch_agent.detectors.ecc_uncorrected import EccUncorrectedDetector
from gpuwatch_agent.detectors.fabric_error import FabricErrorDetector
from gpuwatch_agent.detectors.gpu_lost import GpuLostDetector
from gpuwatch_agent.detectors.gpu_stale import GpuStaleDetector
from gpuwatch_agent.detectors.nvlink_down import NvlinkDownDetector
from gpuwatch_agent.detectors.nvlink_errors import NvlinkErrorsDetector
from gpuwatch_agent.detectors.pcie_degraded import PcieDegradedDetector
from gpuwatch_agent.detectors.pcie_errors import PcieErrorsDetector
from gpuwatch_agent.detectors.row_remap import RowRemapDetector
from gpuwatch_agent.detectors.xid import XidDetector
from gpuwatch_agent.hardware.simulated.machines import MACHINES
from support.simulated_story import SimulatedStory

OURS = (
    GpuLostDetector(),
    GpuStaleDetector(),
    XidDetector(),
    EccUncorrectedDetector(),
    RowRemapDetector(),
    FabricErrorDetector(),
    NvlinkDownDetector(),
    NvlinkErrorsDetector(),
    PcieErrorsDetector(),
    PcieDegradedDetector(),
)


@pytest.mark.parametrize(
    ("spec", "kind", "severity", "gpus"),
    [
        ("dgx-h100-8+pcie-narrow@3", "pcie_degraded", "warning", [3]),
        ("dgx-h100-8+pcie-slow@3~20", "pcie_degraded", "warning", [3]),
        ("l4+pcie-narrow~20", "pcie_degraded", "warning", [0]),
        ("2x4090+pcie-slow@1", "pcie_degraded", "warning", [1]),
        ("dgx-h100-8+pcie-errors@1~20", "pcie_errors", "warning", [1]),
        ("dgx-h100-8+nvlink-down@2", "nvlink_down", "warning", [2]),
        ("dgx-h100-8+nvlink-down@2~20", "nvlink_down", "critical", [2]),
        ("4x3090-bridged+nvlink-down@2", "nvlink_down", "critical", [2, 3]),
        ("dgx-v100-8+nvlink-down@5~20", "nvlink_down", "critical", [5, 6]),
        ("dgx-h100-8+nvlink-errors@4~20", "nvlink_errors", "warning", [4]),
        ("dgx-h100-8+nvlink-errors@4~20", "xid", "critical", [4]),
        ("dgx-h100-8+fabric-error@1", "fabric_error", "critical", [1]),
        ("dgx-h100-8+xid@6=79~20", "xid", "critical", [6]),
        ("dgx-h100-8+xid@6=31~20", "xid", "info", [6]),
        ("dgx-h100-8+ecc@0~20", "ecc_uncorrected", "critical", [0]),
        ("dgx-h100-8+ecc-storm@7~20", "ecc_uncorrected", "warning", [7]),
        ("dgx-h100-8+row-remap@3~20", "row_remap", "warning", [3]),
        ("dgx-v100-8+row-remap@3~20", "row_remap", "warning", [3]),
        ("dgx-h100-8+row-remap-failed@5", "row_remap", "critical", [5]),
        ("dgx-h100-8+lost@6~20", "gpu_lost", "critical", [6]),
        ("dgx-h100-8+needs-reset@6~20", "gpu_lost", "critical", [6]),
    ],
)
def test_a_fault_is_found_on_its_gpu(spec: str, kind: str, severity: str, gpus: list[int]) -> None:
    """The kind, how grave, and where; nobody else is accused of it."""
    with SimulatedStory(spec, OURS) as story:
        findings = [finding for finding in story.passes(100) if finding.kind == kind]
    alarms = [finding for finding in findings if finding.severity != "info" or severity == "info"]
    assert [(finding.severity, finding.gpus) for finding in alarms] == [(severity, gpus)]


def test_a_gpu_that_comes_back_is_no_longer_lost() -> None:
    """It left without an Xid, and returned thirty seconds later."""
    with SimulatedStory("dgx-h100-8+returns@1", OURS) as story:
        assert [finding.kind for finding in story.passes(45)] == ["gpu_lost"]
        assert story.passes(60) == []


@pytest.mark.parametrize("machine", [name for name in MACHINES if name != "none"])
def test_ten_minutes_of_a_healthy_machine_raise_no_alarm(machine: str) -> None:
    """Slots wired for less may be remarked upon; nothing else is said, at no time."""
    with SimulatedStory(machine, OURS) as story:
        story.passes(600)
        said = {(event.finding.kind, event.finding.severity) for event in story.engine.events}
    assert said <= {("pcie_degraded", "info")}
