from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.driver_trouble import driver_trouble
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.errors import GpuLostError, GpuNeedsResetError
from gpuwatch_agent.model.frame import Trouble

_OFF_THE_BUS = 79
_WHOLE_DRIVER = "driver"
_WANTS_RESET = GpuNeedsResetError().message
# The row's sentence says what to do as well; a finding has a place of its own for that.
_ADVICE = (GpuLostError().action, GpuNeedsResetError().action)


class GpuLostSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU that has fallen off the bus, can't be opened or is no longer listed by the driver, or all of them with the driver."""

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
        trouble = driver_trouble(window)
        if trouble is not None:
            return [_all_of_them(window, trouble)]
        return [_suspicion(view) for view in window.gpus if view.gpu.state == "lost"]


def _all_of_them(window: Window, trouble: Trouble) -> Suspicion:
    """One finding, for then it is not the GPUs."""
    count = len(window.gpus)
    none = f"None of the {count} GPUs" if count > 1 else "No GPU"
    return Suspicion(
        key=_WHOLE_DRIVER,
        severity="critical",
        gpus=sorted(view.index for view in window.gpus),
        summary=f"{none} of this node can be reached: the NVIDIA driver as a whole can't be used.",
        cause=trouble.message,
        evidence={"trouble": trouble.kind, "gpus_before": count},
        action=trouble.action,
    )


def _suspicion(view: GpuView) -> Suspicion:
    resettable = (view.gpu.problem or "").startswith(_WANTS_RESET)
    if resettable:
        summary = f"{view.label} can't be used: the driver wants it reset before it says or runs anything more."
        action = (
            f"Stop what runs on it, then `sudo nvidia-smi --gpu-reset -i {view.index}`; if that is refused, drain the node and reboot. "
            "No need to open the machine."
        )
    else:
        summary = f"{view.label} is lost: the driver can no longer reach it, and its job is gone."
        action = (
            "Look for Xid 79 in `dmesg`, drain the node, and power-cycle it; if it comes back lost, check seating, power "
            "cables and cooling, or return the board."
        )
    return Suspicion(
        key=view.uuid,
        severity="critical",
        gpus=[view.index],
        summary=summary,
        cause=_cause(view, resettable),
        evidence={
            "uuid": view.uuid,
            "pci_bus_id": view.gpu.pci_bus_id,
            "last_read_s_ago": view.gpu.age_s,
            "xids": ", ".join(str(xid.code) for xid in view.gpu.xids or ()) or None,
        },
        action=action,
    )


def _cause(view: GpuView, resettable: bool) -> str | None:
    """A GPU can leave the bus without any Xid, so their lack is told as well."""
    problem = view.gpu.problem or ""
    for advice in _ADVICE:
        problem = problem.replace(advice, "").strip()
    codes = [xid.code for xid in view.gpu.xids or ()]
    if _OFF_THE_BUS in codes:
        return f"Xid {_OFF_THE_BUS}: it has fallen off the PCIe bus."
    if codes:
        return f"{problem} Xid {', '.join(map(str, codes))} came before.".strip()
    if resettable or view.gpu.xids is None:
        return problem or None
    return f"{problem} No Xid was seen.".strip()
