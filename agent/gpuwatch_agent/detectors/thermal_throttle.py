from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import (
    ClockLoss,
    clock_loss,
    clocks_in_words,
    group_waits,
    severity_of,
    told,
)
from gpuwatch_agent.detectors.heat import (
    ROOM_ACTION,
    HeatSource,
    headroom,
    heat_source,
    left_to_shutdown_c,
    median,
    own_heat,
    siblings_temperature_c,
)
from gpuwatch_agent.detectors.phrases import gpus_named
from gpuwatch_agent.detectors.throttle_time import THERMAL_SHARE, ThermalHold, thermal_hold
from gpuwatch_agent.detectors.together import NODE, has_lasted, how_many, is_shared, since
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_HELD_BY = ("sw_thermal", "hw_thermal")
_SHARE_TO_STAY = 0.4
"""What part of the share that raises it lets it stay."""
# Two hot boards may warm each other; three do not by chance.
_LEAST_OF_A_NODE = 3
# Who loses so much more of its clock than the hot GPUs around it has a trouble of its own beside theirs.
_ODD_ONE_OUT = 0.15
_ORDER: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


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
        hot: list[_Hot] = []
        for view in window.gpus:
            if not view.answers:
                continue
            said = view.uuid in raised or NODE in raised
            hold = thermal_hold(view, settings.least_share * (_SHARE_TO_STAY if said else 1.0))
            if hold is not None:
                hot.append(_Hot(view, hold, clock_loss(window, view, _HELD_BY)))
        alike = _by_the_same_air(hot)
        if not is_shared(window, [one.view for one in alike], settings, raised, least=_LEAST_OF_A_NODE):
            return [_suspicion(window, one, heat_source(window, one.view), settings) for one in hot]
        odd = [one for one in hot if one not in alike]
        return [
            _of_the_node(window, alike, settings),
            *(_suspicion(window, one, own_heat(one.view) or _WORSE_THAN_THE_REST, settings) for one in odd),
        ]


class _Hot(Struct, frozen=True, gc=False):
    """A GPU that heat holds down."""

    view: GpuView
    hold: ThermalHold
    loss: ClockLoss | None


_WORSE_THAN_THE_REST = HeatSource(
    cause="The others are hot too, but it is far worse off: its own airflow or heat sink, beside the node's air.",
    action="Check what blocks the air at this slot and how its heat sink sits, and beside that the intake, the chassis fans "
    "and the room; move the job meanwhile.",
)


def _by_the_same_air(hot: list[_Hot]) -> list[_Hot]:
    """Those that are alike: whose own readings name no other source, and who are not far worse off than the rest."""
    usual = median([_part(one) for one in hot]) or 0.0
    return [one for one in hot if own_heat(one.view) is None and _part(one) - usual < _ODD_ONE_OUT]


def _part(one: _Hot) -> float:
    return one.loss.part if one.loss is not None else 0.0


def _of_the_node(window: Window, hot: list[_Hot], settings: ThermalThrottleSettings) -> Suspicion:
    """One finding for all of them: eight hot GPUs are no eight bad heat sinks."""
    worst = max(hot, key=_part)
    degrees = [one.view.gpu.temperature_c for one in hot if one.view.gpu.temperature_c is not None]
    shares = [one.hold.share for one in hot if one.hold.share is not None]
    clocks = clocks_in_words(worst.loss)
    lowest, highest = (min(degrees), max(degrees)) if degrees else (None, None)
    indices = [one.view.index for one in hot]
    if lowest is None or highest is None:
        heat = "temperatures unknown"
    else:
        heat = f"{lowest:.0f} to {highest:.0f} °C" if round(lowest) != round(highest) else f"{highest:.0f} °C"
    return Suspicion(
        key=NODE,
        severity=max(
            (_severity(one.hold, one.loss, left_to_shutdown_c(one.view), settings) for one in hot),
            key=_ORDER.__getitem__,
        ),
        gpus=indices,
        summary=f"{gpus_named(indices)} are slowed down by heat at once ({heat}){': at worst ' + clocks if clocks else ''}.",
        cause=f"{how_many(window, [one.view for one in hot])} of the node together: the air comes in too warm, or too little "
        "of it (intake, fans, room).",
        evidence={
            "gpus_throttled": len(hot),
            "temperature_c": highest,
            "coolest_c": lowest,
            "throttled_pct": round(100 * max(shares), 1) if shares else None,
            "by_hardware": "yes" if any(one.hold.by_hardware for one in hot) else "no",
            **told(worst.loss),
        },
        action=ROOM_ACTION,
        since=since(window, settings),
        certain=has_lasted(window, settings),
    )


def _suspicion(window: Window, one: _Hot, source: HeatSource, settings: ThermalThrottleSettings) -> Suspicion:
    view, hold, loss = one.view, one.hold, one.loss
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
        heat = known.in_words
    else:
        heat = f"{degrees:.0f} °C" if degrees is not None else "temperature unknown"
    clocks = clocks_in_words(loss)
    waits = group_waits(window, view) if clocks else ""
    return f"{view.label} is slowed down by heat ({heat}){': ' + clocks if clocks else ''}{waits}."
