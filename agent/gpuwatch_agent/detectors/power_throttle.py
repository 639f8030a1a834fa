from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import (
    OWN_PAST,
    ClockLoss,
    busy_mean,
    clock_loss,
    clocks_in_words,
    group_waits,
    is_busy,
    severity_of,
    told,
)
from gpuwatch_agent.detectors.heat import median
from gpuwatch_agent.detectors.throttle_time import share_of
from gpuwatch_agent.detectors.window import GpuView, Window

_HELD_BY = ("sw_power_cap",)
_BELOW_DEFAULT = 0.98
_SAME_WATTS = 0.9
_TO_STAY = 0.5
_STEADY_S = 60.0
_MOSTLY = 0.5
_HOTTER_C = 8.0
_NEVER = 2.0
"""A part of the clock that can't be lost: a power limit is somebody's choice and never critical."""


class PowerThrottleSettings(DetectorSettings, frozen=True, kw_only=True):
    """A GPU held down by a power limit below its default, or held down harder than the others of its group."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 4.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    least_share: Annotated[
        float,
        Meta(description="Share of the last 10 s for which the power limit must hold the clocks.", ge=0.001, le=1),
    ] = 0.1
    warning_loss: Annotated[
        float, Meta(description="Lost part of the SM clock from which it is a warning.", ge=0, le=1)
    ] = 0.1
    harder_loss: Annotated[
        float,
        Meta(
            description="How far below its group's clock a GPU with an equal limit must be to be told.", ge=0.01, le=1
        ),
    ] = 0.12


class _Capped(Struct, frozen=True, kw_only=True):
    view: GpuView
    limit_w: float
    default_w: float | None

    @property
    def lowered(self) -> bool:
        return self.default_w is not None and self.limit_w < _BELOW_DEFAULT * self.default_w


class PowerThrottleDetector:
    """Reaching the power limit is what a busy GPU does: only a lowered limit, or an odd one out, is told."""

    kind: ClassVar[str] = "power_throttle"
    settings: ClassVar[type[DetectorSettings]] = PowerThrottleSettings

    def detect(self, window: Window, settings: PowerThrottleSettings, raised: frozenset[str]) -> list[Suspicion]:
        capped = [found for view in window.gpus if (found := _capped(view, settings, raised)) is not None]
        lowered: dict[str, list[_Capped]] = {}
        suspicions: list[Suspicion] = []
        for one in capped:
            if one.lowered:
                # One finding for all boards of a model: limits are read seconds apart, and are mostly set together.
                lowered.setdefault(_limit_key(one.view), []).append(one)
            elif (odd := _of_odd(window, one, settings)) is not None:
                suspicions.append(odd)
        return [_of_lowered(window, key, those, settings) for key, those in lowered.items()] + suspicions


def _limit_key(view: GpuView) -> str:
    return f"limit of {view.gpu.name}"


def _capped(view: GpuView, settings: PowerThrottleSettings, raised: frozenset[str]) -> _Capped | None:
    """A busy GPU that its power limit holds down."""
    limit_w = view.gpu.power_limit_w
    if not view.answers or limit_w is None:
        return None
    share = share_of(view, "sw_power_cap")
    if share is None:
        share = float("sw_power_cap" in (view.gpu.throttle_reasons or ()))
    said = view.uuid in raised or _limit_key(view) in raised
    if share < settings.least_share * (_TO_STAY if said else 1.0) or not is_busy(view):
        return None
    return _Capped(view=view, limit_w=limit_w, default_w=view.gpu.power_limit_default_w)


def _of_lowered(window: Window, key: str, capped: Sequence[_Capped], settings: PowerThrottleSettings) -> Suspicion:
    """Where all of a model have the limit it is somebody's choice, and a warning only while its loss is new."""
    first = capped[0].view
    others_w = _others_limit_w(window, first, {one.view.uuid for one in capped})
    losses = [(one, _loss(window, one, against_others=others_w is not None)) for one in capped]
    worst, loss = max(losses, key=lambda pair: pair[1].part if pair[1] is not None else 0.0)
    clocks = clocks_in_words(loss)
    which = f"{worst.view.label} is" if len(capped) == 1 else f"{len(capped)} GPUs are"
    others = f", the others have {others_w:.0f} W" if others_w is not None else ""
    of_which = f" on {worst.view.label}" if clocks and len(capped) > 1 else ""
    return Suspicion(
        key=key,
        severity=severity_of(loss, settings.warning_loss, _NEVER),
        gpus=[one.view.index for one in capped],
        summary=f"{which} held down by a power limit of {worst.limit_w:.0f} W (default {worst.default_w:.0f} W{others})"
        f"{': ' + clocks if clocks else ''}{of_which}{group_waits(window, worst.view) if clocks else ''}.",
        cause=_cause(window, first, others_w),
        evidence={
            "power_limit_w": worst.limit_w,
            "power_limit_default_w": worst.default_w,
            "others_limit_w": others_w,
            "power_w": worst.view.gpu.power_w,
            "capped_pct": _percent(share_of(worst.view, "sw_power_cap")),
            **told(loss),
        },
        action=f"If nobody meant it: `sudo nvidia-smi -i {worst.view.index} -pl {worst.default_w:.0f}`, and look for what "
        "sets it at boot.",
    )


def _others_limit_w(window: Window, view: GpuView, capped: Collection[str]) -> float | None:
    """The limit of the boards of the model that were not lowered, `None` where there are none."""
    own = view.gpu.power_limit_w or 0.0
    return median(
        [
            limit_w
            for one in window.siblings(view)
            if one.uuid not in capped
            and (limit_w := one.gpu.power_limit_w) is not None
            and limit_w * _BELOW_DEFAULT > own
        ]
    )


def _loss(window: Window, one: _Capped, *, against_others: bool) -> ClockLoss | None:
    """Where all have the limit, only the GPU's own past is a yardstick: a data sheet knows nothing of the choice."""
    loss = clock_loss(window, one.view, _HELD_BY)
    return loss if against_others or (loss is not None and loss.known_from == OWN_PAST) else None


def _cause(window: Window, view: GpuView, others_w: float | None) -> str:
    if others_w is not None:
        return "The power limit was lowered here, and not on the others."
    if not window.siblings(view):
        return "Somebody lowered its power limit."
    return "Somebody lowered the power limit of all GPUs of this model."


def _percent(share: float | None) -> float | None:
    return round(100 * share, 1) if share is not None else None


def _of_odd(window: Window, one: _Capped, settings: PowerThrottleSettings) -> Suspicion | None:
    """The limit is as it should be, yet the others of its group reach higher clocks with as many watts."""
    if window.watched_s < _STEADY_S or (share_of(one.view, "sw_power_cap", _STEADY_S) or 0.0) < _MOSTLY:
        return None
    rivals = _rivals(window, one)
    theirs = median([clock for rival in rivals if (clock := busy_mean(rival, "sm_clock_mhz", _STEADY_S)) is not None])
    own = busy_mean(one.view, "sm_clock_mhz", _STEADY_S)
    if theirs is None or own is None or own > theirs * (1 - settings.harder_loss):
        return None
    degrees = one.view.gpu.temperature_c
    theirs_c = median([rival.gpu.temperature_c for rival in rivals if rival.gpu.temperature_c is not None])
    hotter = degrees is not None and theirs_c is not None and degrees >= theirs_c + _HOTTER_C
    return Suspicion(
        key=one.view.uuid,
        severity="info",
        gpus=[one.view.index],
        summary=f"{one.view.label} gets less out of its {one.limit_w:.0f} W than its group: {own:,.0f} MHz, the others "
        f"{theirs:,.0f} MHz{group_waits(window, one.view)}.",
        cause=f"It is hotter ({degrees:.0f} °C, the others {theirs_c:.0f} °C), and a hot chip needs more watts for a clock."
        if hotter
        else "The limit and the watts are alike, so its chip needs more watts for a clock than theirs, or it has more to do.",
        evidence={
            "sm_clock_mhz": round(own),
            "group_sm_clock_mhz": round(theirs),
            "power_limit_w": one.limit_w,
            "temperature_c": degrees,
            "group_temperature_c": theirs_c,
        },
        action="Compare its airflow with the others'; if nothing differs, swap its place in the group or raise its limit.",
    )


def _rivals(window: Window, one: _Capped) -> list[GpuView]:
    """Busy GPUs of its group with the same limit that draw about as much."""
    own = busy_mean(one.view, "power_w", _STEADY_S)
    group = next((group for group in window.groups if group.lockstep and one.view.uuid in group.uuids), None)
    if group is None or own is None:
        return []
    members = set(group.uuids)
    return [
        sibling
        for sibling in window.siblings(one.view)
        if sibling.uuid in members
        and sibling.gpu.power_limit_w == one.limit_w
        and is_busy(sibling)
        and (watts := busy_mean(sibling, "power_w", _STEADY_S)) is not None
        and watts >= _SAME_WATTS * own
    ]
