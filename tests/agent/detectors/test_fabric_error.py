"""The NVSwitch fabric, as the driver reports it."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.fabric_error import FabricErrorDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Fabric, Gpu, Mig
from gpuwatch_agent.model.host import Host
from support.windows import Story

GOOD = Fabric(state="completed", status="success", clique=0, healthy=True)


def told(fabric: Fabric | None, *, uptime_s: float | None = None, mig: Mig | None = None) -> list[Finding]:
    gpus = [Gpu(index=0, uuid="A", fabric=GOOD), Gpu(index=1, uuid="B", fabric=fabric, mig=mig)]
    story = Story(gpus, [FabricErrorDetector()])
    story.frame = structs.replace(story.frame, host=Host(uptime_s=uptime_s))
    return story.passes(40)


@pytest.mark.parametrize(
    ("fabric", "severity", "words"),
    [
        (Fabric(state="not_started", status="success"), "critical", "registration not started"),
        (Fabric(state="in_progress"), "critical", "registration in progress"),
        (Fabric(state="completed", status="unknown error"), "critical", "failed (unknown error)"),
        (Fabric(state="completed", status="success", healthy=False), "warning", "not in good health"),
    ],
)
def test_each_way_to_be_outside_the_fabric(fabric: Fabric, severity: str, words: str) -> None:
    """Not registered, refused, or degraded: with what it costs."""
    (finding,) = told(fabric)
    assert (finding.severity, finding.gpus) == (severity, [1])
    assert words in finding.summary


@pytest.mark.parametrize(
    "fabric",
    [GOOD, None, Fabric(), Fabric(state="completed"), Fabric(state="completed", status="success", healthy=None)],
)
def test_health_and_silence_are_no_fault(fabric: Fabric | None) -> None:
    """All well, a board without a fabric, and what a driver does not tell."""
    assert told(fabric) == []


def test_boot_and_mig_explain_an_unfinished_registration() -> None:
    """The fabric manager needs minutes after the machine's start; a GPU cut by MIG sends nothing to others."""
    unfinished = Fabric(state="in_progress")
    assert told(unfinished, uptime_s=300) == []
    assert len(told(unfinished, uptime_s=4000)) == 1
    assert told(unfinished, mig=Mig(enabled=True)) == []


def test_the_status_means_nothing_before_registration_is_complete() -> None:
    """NVML's own rule: the sentence is of the state."""
    (finding,) = told(Fabric(state="in_progress", status="unknown error"))
    assert "in progress" in finding.summary
