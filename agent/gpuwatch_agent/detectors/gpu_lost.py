from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.window import Window


class GpuLostSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU that has fallen off the bus, can't be opened, or is no longer listed by the driver."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 2.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 10.0


class GpuLostDetector:
    """Believes the row's own state: the sampler has asked the driver."""

    kind: ClassVar[str] = "gpu_lost"
    settings: ClassVar[type[DetectorSettings]] = GpuLostSettings

    def detect(self, window: Window, settings: GpuLostSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a state has no threshold
        return [
            Suspicion(
                key=view.uuid,
                severity="critical",
                gpus=[view.index],
                summary=f"{view.label} is lost: the driver can no longer reach it.",
                cause=view.gpu.problem,
                evidence={"uuid": view.uuid, "pci_bus_id": view.gpu.pci_bus_id, "last_read_s_ago": view.gpu.age_s},
                action="Look for Xid 79 in `dmesg`, drain the node, and power-cycle it; if it comes back lost, check "
                "seating, power cables and cooling, or return the board.",
            )
            for view in window.gpus
            if view.gpu.state == "lost"
        ]
