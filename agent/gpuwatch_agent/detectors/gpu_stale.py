from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.driver_trouble import driver_trouble
from gpuwatch_agent.detectors.phrases import gpus_named
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_EVERY_GPU = "every GPU"


class GpuStaleSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU of which the driver has not answered for a while."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 5.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 10.0
    critical_after_s: Annotated[
        float, Meta(description="A GPU that has been silent for longer than this is critical.", ge=0, le=86400)
    ] = 60.0


class GpuStaleDetector:
    """Believes the row's own state; all GPUs silent at once is one finding, for then it is not the GPUs."""

    kind: ClassVar[str] = "gpu_stale"
    settings: ClassVar[type[DetectorSettings]] = GpuStaleSettings

    def detect(self, window: Window, settings: GpuStaleSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a state has no threshold
        if driver_trouble(window) is not None:
            return []  # said as gpu_lost, with all of them
        stale = [view for view in window.gpus if view.gpu.state == "stale"]
        reachable = [view for view in window.gpus if view.gpu.state != "lost"]
        if len(stale) > 1 and len(stale) == len(reachable):
            return [_every_gpu(stale, window, settings)]
        return [_one(view, window, settings) for view in stale]


def _silent_s(view: GpuView, window: Window) -> float:
    """A GPU that has never answered has been silent for as long as anybody has watched."""
    return view.gpu.age_s if view.gpu.age_s is not None else window.watched_s


def _severity(silent_s: float, settings: GpuStaleSettings) -> Severity:
    return "critical" if silent_s >= settings.critical_after_s else "warning"


def _one(view: GpuView, window: Window, settings: GpuStaleSettings) -> Suspicion:
    silent_s = _silent_s(view, window)
    return Suspicion(
        key=view.uuid,
        severity=_severity(silent_s, settings),
        gpus=[view.index],
        summary=f"{view.label} has not answered for {silent_s:.0f} s: its values are old, and what runs on it may hang.",
        cause=view.gpu.problem,
        evidence={"silent_s": round(silent_s, 1)},
        action=f"Look for Xids 119 and 120 in `dmesg`; if `nvidia-smi -i {view.index}` hangs too, drain the GPU and reset it, or "
        "power-cycle the node.",
    )


def _every_gpu(stale: list[GpuView], window: Window, settings: GpuStaleSettings) -> Suspicion:
    silent_s = max(_silent_s(view, window) for view in stale)
    indices = [view.index for view in stale]
    return Suspicion(
        key=_EVERY_GPU,
        severity=_severity(silent_s, settings),
        gpus=indices,
        summary=f"Nothing has been read of {gpus_named(indices)} for {silent_s:.0f} s: the driver or the sampler hangs as a whole.",
        cause=stale[0].gpu.problem,
        evidence={"silent_s": round(silent_s, 1), "gpus": len(stale)},
        action="See whether `nvidia-smi` answers. If it does, look at the agent's own log; if not, at `dmesg` for Xids and "
        "for processes in state D, and reboot if it lasts.",
    )
