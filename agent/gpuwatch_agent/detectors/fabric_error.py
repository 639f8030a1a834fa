from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_DONE = "completed"
_LOOK = (
    "See `nvidia-smi -q | grep -A 6 Fabric`, `systemctl status nvidia-fabricmanager` and its log "
    "(/var/log/fabricmanager.log); restart it on an idle node, and reset the GPUs if that does not help."
)


class FabricErrorSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU that is not, or not well, registered with its NVSwitch fabric."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 20.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 30.0
    boot_grace_s: Annotated[
        float, Meta(description="After the machine's start nothing of this kind is said for so long.", ge=0, le=86400)
    ] = 600.0


class FabricErrorDetector:
    """Speaks only of GPUs that report a fabric: boards without NVSwitch have none, and lack nothing."""

    kind: ClassVar[str] = "fabric_error"
    settings: ClassVar[type[DetectorSettings]] = FabricErrorSettings

    def detect(self, window: Window, settings: FabricErrorSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a state has no threshold
        found = (_judge(view) for view in window.gpus if view.answers)
        return [suspicion for suspicion in found if suspicion is not None]


def _judge(view: GpuView) -> Suspicion | None:
    fabric = view.gpu.fabric
    if fabric is None or fabric.state is None:
        return None
    if fabric.state != _DONE:
        if _in_mig(view):
            return None
        state = fabric.state.replace("_", " ")
        return _suspicion(
            view,
            "critical",
            f"{view.label} is not in the NVSwitch fabric (registration {state}): CUDA programs on it fail to start.",
            "The fabric manager has not taken this GPU in: it may not be running, or fit the driver's version.",
        )
    # The driver's status means something only once registration is complete.
    if fabric.status is not None and fabric.status != "success":
        return _suspicion(
            view,
            "critical",
            f"The registration of {view.label} with the NVSwitch fabric failed ({fabric.status}): jobs over several GPUs "
            "can't use it.",
            "The fabric manager refused this GPU, or a link or switch on its way failed.",
        )
    if fabric.healthy is False:
        return _suspicion(
            view,
            "warning",
            f"The NVSwitch fabric around {view.label} is not in good health: bandwidth may be lower, or routes being mended.",
            "The driver reports degraded bandwidth, an unhealthy route or a recovery that is going on.",
        )
    return None


def _in_mig(view: GpuView) -> bool:
    """A GPU cut by MIG talks to no other over NVLink."""
    return view.gpu.mig is not None and view.gpu.mig.enabled


def _suspicion(view: GpuView, severity: Severity, summary: str, cause: str) -> Suspicion:
    fabric = view.gpu.fabric
    return Suspicion(
        key=view.uuid,
        severity=severity,
        gpus=[view.index],
        summary=summary,
        cause=cause,
        evidence={
            "state": fabric.state if fabric else None,
            "status": fabric.status if fabric else None,
            "healthy": fabric.healthy if fabric else None,
            "clique": fabric.clique if fabric else None,
        },
        action=_LOOK,
    )
