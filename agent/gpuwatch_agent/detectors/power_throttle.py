from collections.abc import Sequence
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
_RAISE_IT = "If nobody meant it: `sudo nvidia-smi -i {index} -pl {watts:.0f}`, and look for what sets it at boot."
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
        suspicions: list[Suspicion] = []
        everybodys: dict[str, list[_Capped]] = {}
        for one in capped:
            if one.lowered and _is_everybodys(window, one):
                everybodys.setdefault(_key_of_all(one.view), []).append(one)
            elif one.lowered:
                suspicions.append(_of_one(window, one, settings))
            elif (odd := _of_odd(window, one, settings)) is not None:
                suspicions.append(odd)
        return [_of_all(window, key, alike, settings) for key, alike in everybodys.items()] + suspicions


def _key_of_all(view: GpuView) -> str:
    return f"all {view.gpu.name}"


def _capped(view: GpuView, settings: PowerThrottleSettings, raised: frozenset[str]) -> _Capped | None:
    """A busy GPU that its power limit holds down."""
    limit_w = view.gpu.power_limit_w
    if not view.answers or limit_w is None:
        return None
    share = share_of(view, "sw_power_cap")
    if share is None:
        share = float("sw_power_cap" in (view.gpu.throttle_reasons or ()))
    said = view.uuid in raised or _key_of_all(view) in raised
    if share < settings.least_share * (_TO_STAY if said else 1.0) or not is_busy(view):
        return None
    return _Capped(view=view, limit_w=limit_w, default_w=view.gpu.power_limit_default_w)


def _is_everybodys(window: Window, one: _Capped) -> bool:
    """Whether all GPUs of the model have the same low limit: then somebody chose it for the machine."""
    return all(
        sibling.gpu.power_limit_w is not None
        and abs(sibling.gpu.power_limit_w - one.limit_w) <= (1 - _BELOW_DEFAULT) * one.limit_w
        for sibling in window.siblings(one.view)
    )


def _of_all(window: Window, key: str, capped: Sequence[_Capped], settings: PowerThrottleSettings) -> Suspicion:
    """One finding for the machine's choice; it is a warning only while it is new, against the hour before."""
    losses = [(one, _own_loss(window, one)) for one in capped]
    worst, loss = max(losses, key=lambda pair: pair[1].part if pair[1] is not None else 0.0)
    alone = not window.siblings(worst.view)
    whom = f"{worst.view.label} is" if len(capped) == 1 else f"{len(capped)} GPUs are"
    clocks = clocks_in_words(loss)
    of_which = f" on {worst.view.label}" if clocks and len(capped) > 1 else ""
    return Suspicion(
        key=key,
        severity=severity_of(loss, settings.warning_loss, _NEVER),
        gpus=[one.view.index for one in capped],
        summary=f"{whom} held down by a power limit of {worst.limit_w:.0f} W, the default is {worst.default_w:.0f} W"
        f"{': ' + clocks if clocks else ''}{of_which}.",
        cause=f"Somebody lowered {'its power limit' if alone else 'the power limit of all GPUs of this model'}.",
        evidence=_evidence(worst, loss),
        action=_RAISE_IT.format(watts=worst.default_w, index=worst.view.index),
    )


def _own_loss(window: Window, one: _Capped) -> ClockLoss | None:
    """Against its own past alone: siblings with the same limit, and a data sheet without one, are no yardstick."""
    loss = clock_loss(window, one.view, _HELD_BY)
    return loss if loss is not None and loss.known_from == OWN_PAST else None


def _of_one(window: Window, one: _Capped, settings: PowerThrottleSettings) -> Suspicion:
    loss = clock_loss(window, one.view, _HELD_BY)
    clocks = clocks_in_words(loss)
    theirs = median([watts for other in window.siblings(one.view) if (watts := other.gpu.power_limit_w) is not None])
    others = f", the others have {theirs:.0f} W" if theirs is not None else ""
    return Suspicion(
        key=one.view.uuid,
        severity=severity_of(loss, settings.warning_loss, _NEVER),
        gpus=[one.view.index],
        summary=f"{one.view.label} is held down by a power limit of {one.limit_w:.0f} W (default {one.default_w:.0f} W"
        f"{others}){': ' + clocks if clocks else ''}{group_waits(window, one.view)}.",
        cause="Its power limit was lowered, the others' was not.",
        evidence={**_evidence(one, loss), "siblings_limit_w": theirs},
        action=_RAISE_IT.format(watts=one.default_w, index=one.view.index),
    )


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


def _evidence(one: _Capped, loss: ClockLoss | None) -> dict[str, float | int | str | None]:
    return {
        "power_limit_w": one.limit_w,
        "power_limit_default_w": one.default_w,
        "power_w": one.view.gpu.power_w,
        "capped_pct": round(100 * share, 1) if (share := share_of(one.view, "sw_power_cap")) is not None else None,
        **told(loss),
    }
