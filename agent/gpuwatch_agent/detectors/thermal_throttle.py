from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import (
    ClockLoss,
    clock_loss,
    clocks_in_words,
    group_waits,
    severity_of,
    told,
)
from gpuwatch_agent.detectors.heat import headroom, heat_source, left_to_shutdown_c, siblings_temperature_c
from gpuwatch_agent.detectors.throttle_time import THERMAL_SHARE, ThermalHold, thermal_hold
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_HELD_BY = ("sw_thermal", "hw_thermal")
_SHARE_TO_STAY = 0.4
"""What part of the share that raises it lets it stay."""


class ThermalThrottleSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU whose clocks are held down by heat."""

    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    least_share: Annotated[
        float, Meta(description="Share of the last 10 s for which heat must hold the clocks.", ge=0.001, le=1)
    ] = THERMAL_SHARE
    warning_loss: Annotated[
        float, Meta(description="Lost part of the SM clock from which it is a warning.", ge=0, le=1)
    ] = 0.1
    critical_loss: Annotated[
        float, Meta(description="Lost part of the SM clock from which it is critical.", ge=0, le=1)
    ] = 0.25
    shutdown_c: Annotated[
        float, Meta(description="Degrees before the board switches itself off at which it is critical.", ge=0, le=50)
    ] = 3.0

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("warning_loss", "critical_loss"),)


class ThermalThrottleDetector:
    """Asks the counters how long heat held the clocks, and rates it by the clock that is lost."""

    kind: ClassVar[str] = "thermal_throttle"
    settings: ClassVar[type[DetectorSettings]] = ThermalThrottleSettings

    def detect(self, window: Window, settings: ThermalThrottleSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            if not view.answers:
                continue
            enough = settings.least_share * (_SHARE_TO_STAY if view.uuid in raised else 1.0)
            hold = thermal_hold(view, enough)
            if hold is not None:
                found.append(_suspicion(window, view, hold, settings))
        return found


def _suspicion(window: Window, view: GpuView, hold: ThermalHold, settings: ThermalThrottleSettings) -> Suspicion:
    loss = clock_loss(window, view, _HELD_BY)
    source = heat_source(window, view)
    known = headroom(view)
    shutdown_c = left_to_shutdown_c(view)
    gpu = view.gpu
    return Suspicion(
        key=view.uuid,
        severity=_severity(hold, loss, shutdown_c, settings),
        gpus=[view.index],
        summary=_summary(window, view, loss),
        cause=source.cause,
        evidence={
            "temperature_c": gpu.temperature_c,
            "limit_c": known.limit_c if known is not None else None,
            "shutdown_c": gpu.temperature_shutdown_c,
            "memory_temperature_c": gpu.memory_temperature_c,
            "siblings_temperature_c": siblings_temperature_c(window, view),
            "throttled_pct": round(100 * hold.share, 1) if hold.share is not None else None,
            "by_hardware": "yes" if hold.by_hardware else "no",
            "fan_pct": gpu.fan_pct,
            "power_w": gpu.power_w,
            **told(loss),
        },
        action=source.action,
    )


def _severity(
    hold: ThermalHold, loss: ClockLoss | None, shutdown_c: float | None, settings: ThermalThrottleSettings
) -> Severity:
    if shutdown_c is not None and shutdown_c <= settings.shutdown_c:
        return "critical"
    by_loss = severity_of(loss, settings.warning_loss, settings.critical_loss)
    # The hardware steps in where the driver's gentle control was not enough, and swallows pulses that the clock still counts.
    return "warning" if hold.by_hardware and by_loss == "info" else by_loss


def _summary(window: Window, view: GpuView, loss: ClockLoss | None) -> str:
    known = headroom(view)
    degrees = view.gpu.temperature_c
    if known is not None:
        heat = f"{known.temperature_c:.0f} °C, limit {known.limit_c:.0f}"
    else:
        heat = f"{degrees:.0f} °C" if degrees is not None else "temperature unknown"
    clocks = clocks_in_words(loss)
    waits = group_waits(window, view) if clocks else ""
    return f"{view.label} is slowed down by heat ({heat}){': ' + clocks if clocks else ''}{waits}."
