from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import is_busy
from gpuwatch_agent.detectors.heat import NEAR_LIMIT_C, headroom
from gpuwatch_agent.detectors.throttle_time import thermal_hold
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_STEADY_S = 10.0
_TO_STAY_C = 5.0
_FAR_BEHIND = 0.4


class FanFailureSettings(DetectorSettings, frozen=True, kw_only=True):
    """A fan of the board that stands still while the board is hot, or lags far behind the others."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 20.0
    hot_c: Annotated[
        float,
        Meta(
            description="Temperature at which all fans at 0 % are no longer the quiet mode of a cool board.",
            ge=30,
            le=110,
        ),
    ] = 70.0
    others_pct: Annotated[
        float, Meta(description="Speed of the board's other fans at which one at 0 % has failed.", ge=1, le=100)
    ] = 40.0
    lagging_pct: Annotated[
        float, Meta(description="Speed of the fastest fan from which one at less than 0.4 of it is told.", ge=1, le=100)
    ] = 80.0


class _Failure(Struct, frozen=True, kw_only=True, gc=False):
    """Which fans, by number, of how many, and whether they stand."""

    fans: list[int]
    of: int
    still: bool


class FanFailureDetector:
    """Boards without fans of their own read none, and are left alone."""

    kind: ClassVar[str] = "fan_failure"
    settings: ClassVar[type[DetectorSettings]] = FanFailureSettings

    def detect(self, window: Window, settings: FanFailureSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            speeds = view.gpu.fans_pct
            if not speeds or not view.answers:
                continue
            failure = _failure(view, speeds, settings, said=view.uuid in raised)
            if failure is not None:
                found.append(_suspicion(view, failure))
        return found


def _failure(
    view: GpuView, speeds: Sequence[float | None], settings: FanFailureSettings, *, said: bool
) -> _Failure | None:
    known = [(number, speed) for number, speed in enumerate(speeds) if speed is not None]
    if not known:
        return None
    fastest = max(speed for _, speed in known)
    still = [number for number, speed in known if speed == 0]
    hot = settings.hot_c - (_TO_STAY_C if said else 0.0)
    if len(still) == len(known):
        degrees = view.mean("temperature_c", _STEADY_S)
        all_still_and_hot = degrees is not None and degrees >= hot
        return _Failure(fans=still, of=len(known), still=True) if all_still_and_hot else None
    # Some boards stop one of their fans by design while the load is light.
    works = is_busy(view) or (view.gpu.temperature_c is not None and view.gpu.temperature_c >= hot)
    if still and works and fastest >= settings.others_pct:
        return _Failure(fans=still, of=len(known), still=True)
    lagging = [number for number, speed in known if speed < _FAR_BEHIND * fastest]
    if lagging and works and fastest >= settings.lagging_pct:
        return _Failure(fans=lagging, of=len(known), still=False)
    return None


def _suspicion(view: GpuView, failure: _Failure) -> Suspicion:
    gpu = view.gpu
    speeds = ", ".join("?" if speed is None else f"{speed:.0f}" for speed in gpu.fans_pct or ())
    degrees = f" at {gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else ""
    return Suspicion(
        key=view.uuid,
        severity=_severity(view, failure),
        gpus=[view.index],
        summary=f"{view.label}: {_what(failure)}{degrees} (fans read {speeds} %).",
        cause="The fan or its cable has failed, or something blocks it."
        if failure.still
        else "The fan is set to its own speed by hand or by the board's control, or it is failing.",
        evidence={
            "fans_pct": speeds,
            "temperature_c": gpu.temperature_c,
            "slowdown_c": gpu.temperature_slowdown_c,
            "power_w": gpu.power_w,
            "failed_fans": ", ".join(str(number) for number in failure.fans),
        },
        action="Look whether the fan turns and is free of cables and dust, and whether somebody set its speed by hand "
        "(`nvidia-settings -q all | grep -i fan`); replace the fan. Lower the power limit until then."
        if failure.of > len(failure.fans)
        else "Stop the load now: the board has no air. Look whether the fans turn; replace them or the board.",
    )


def _what(failure: _Failure) -> str:
    numbers = ", ".join(str(number) for number in failure.fans)
    if failure.still and len(failure.fans) == failure.of:
        return "its fan stands still" if failure.of == 1 else f"all its {failure.of} fans stand still"
    one = len(failure.fans) == 1
    does = ("stands still" if one else "stand still") if failure.still else ("lags behind" if one else "lag behind")
    return f"{'fan' if one else 'fans'} {numbers} of its {failure.of} {does}"


def _severity(view: GpuView, failure: _Failure) -> Severity:
    if not failure.still:
        return "info"
    known = headroom(view)
    in_danger = thermal_hold(view) is not None or (known is not None and known.left_c <= NEAR_LIMIT_C)
    return "critical" if in_danger or len(failure.fans) == failure.of else "warning"
