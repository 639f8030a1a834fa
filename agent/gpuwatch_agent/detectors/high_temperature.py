from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.heat import Headroom, headroom, heat_source, left_to_shutdown_c, siblings_temperature_c
from gpuwatch_agent.detectors.throttle_time import thermal_hold
from gpuwatch_agent.detectors.window import GpuView, Window

_STEADY_S = 30.0


class HighTemperatureSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU that comes close to the temperature at which it must slow down, and has not had to yet."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 60.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    margin_c: Annotated[
        float, Meta(description="Degrees before the board's own limit from which it is told.", ge=0, le=50)
    ] = 5.0
    margin_to_clear_c: Annotated[
        float, Meta(description="Degrees before the limit that it must have again to be dropped.", ge=0, le=60)
    ] = 8.0
    shutdown_c: Annotated[
        float, Meta(description="Degrees before the board switches itself off at which it is critical.", ge=0, le=50)
    ] = 3.0
    fans_in_reserve_pct: Annotated[
        float,
        Meta(description="Fans that turn slower than this leave the board room to help itself: info.", ge=0, le=100),
    ] = 85.0

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("margin_c", "margin_to_clear_c"),)


class HighTemperatureDetector:
    """Judges by each board's own limit: 85 °C is cool for one and the end for another."""

    kind: ClassVar[str] = "high_temperature"
    settings: ClassVar[type[DetectorSettings]] = HighTemperatureSettings

    def detect(self, window: Window, settings: HighTemperatureSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            known = headroom(view) if view.answers else None
            if known is None:
                continue
            near = settings.margin_to_clear_c if view.uuid in raised else settings.margin_c
            if _left_for_a_while_c(view, known) <= near and thermal_hold(view) is None:
                found.append(_suspicion(window, view, known, settings))
        return found


def _left_for_a_while_c(view: GpuView, known: Headroom) -> float:
    """Against the mean of the last half minute, so that one reading does not tip it."""
    steady_c = view.mean("temperature_c", _STEADY_S)
    return known.limit_c - steady_c if steady_c is not None else known.left_c


def _suspicion(window: Window, view: GpuView, known: Headroom, settings: HighTemperatureSettings) -> Suspicion:
    source = heat_source(window, view)
    shutdown_c = left_to_shutdown_c(view)
    off_soon = shutdown_c is not None and shutdown_c <= settings.shutdown_c
    fans = view.gpu.fan_pct
    in_reserve = fans is not None and 0 < fans < settings.fans_in_reserve_pct
    left = round(known.left_c)
    distance = (
        f"{left} °C below its limit of {known.limit_c:.0f}" if left > 0 else f"at its limit of {known.limit_c:.0f}"
    )
    helps = f"; its fans turn at {fans:.0f} %" if fans is not None else ""
    return Suspicion(
        key=view.uuid,
        severity="critical" if off_soon else "info" if in_reserve else "warning",
        gpus=[view.index],
        summary=f"{view.label} is close to slowing down: {known.temperature_c:.0f} °C, {distance}{helps}.",
        cause=source.cause,
        evidence={
            "temperature_c": known.temperature_c,
            "limit_c": known.limit_c,
            "shutdown_c": view.gpu.temperature_shutdown_c,
            "memory_temperature_c": view.gpu.memory_temperature_c,
            "siblings_temperature_c": siblings_temperature_c(window, view),
            "fan_pct": fans,
            "power_w": view.gpu.power_w,
        },
        action=source.action,
    )
