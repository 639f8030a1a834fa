from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import clock_loss, clocks_in_words, group_waits, severity_of, told
from gpuwatch_agent.detectors.heat import headroom
from gpuwatch_agent.detectors.throttle_time import braked_share, thermal_hold
from gpuwatch_agent.detectors.window import GpuView, Window

_HEAT_LINGERS = 0.001
"""A thermal hold that is too short to be told by itself still explains the bit."""


class HwSlowdownSettings(DetectorSettings, frozen=True, kw_only=True):
    """The hardware slows a GPU down and says neither heat nor power brake: mostly a board that draws too much at once."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 5.0
    critical_loss: Annotated[
        float, Meta(description="Lost part of the SM clock from which it is critical.", ge=0, le=1)
    ] = 0.25


class HwSlowdownDetector:
    """The generic bit alone: where heat or the brake explains it, their own findings speak."""

    kind: ClassVar[str] = "hw_slowdown"
    settings: ClassVar[type[DetectorSettings]] = HwSlowdownSettings

    def detect(self, window: Window, settings: HwSlowdownSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a bit has no threshold
        return [
            _suspicion(window, view, settings)
            for view in window.gpus
            if view.answers and "hw_slowdown" in (view.gpu.throttle_reasons or ()) and not _is_explained(view)
        ]


def _is_explained(view: GpuView) -> bool:
    reasons = view.gpu.throttle_reasons or ()
    if "hw_thermal" in reasons or "hw_power_brake" in reasons:
        return True
    return thermal_hold(view, _HEAT_LINGERS) is not None or bool(braked_share(view))


def _suspicion(window: Window, view: GpuView, settings: HwSlowdownSettings) -> Suspicion:
    loss = clock_loss(window, view, ())
    clocks = clocks_in_words(loss)
    waits = group_waits(window, view) if clocks else ""
    known = headroom(view)
    by_loss = severity_of(loss, 0.0, settings.critical_loss)
    return Suspicion(
        key=view.uuid,
        # An idle board loses nothing now; it will when it is put to work.
        severity="info" if loss is None else by_loss,
        gpus=[view.index],
        summary=f"{view.label} is slowed down by its own hardware, neither for heat nor by the power brake"
        f"{': ' + clocks if clocks else ''}{waits}.",
        cause="The hardware names no reason: as a rule a spike of current, or power that sags at the board.",
        evidence={
            "temperature_c": view.gpu.temperature_c,
            "limit_c": known.limit_c if known is not None else None,
            "power_w": view.gpu.power_w,
            "power_limit_w": view.gpu.power_limit_w,
            **told(loss),
        },
        action="Check the board's power cables and connectors and the supplies' log (`ipmitool sel list`); if it stays "
        "after a power cycle, have the board looked at.",
    )
