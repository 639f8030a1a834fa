"""What it costs when clocks are held down: how far they are below what this GPU reaches when it works."""

from msgspec import Struct

from gpuwatch_agent.detectors.heat import median
from gpuwatch_agent.detectors.throttle_time import LOOK_BACK_S, share_of
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

# Enough work for the clocks to go up: half of a split by layers, or a service at low load, is working too.
_AT_WORK_PCT = 20.0
OWN_PAST = "its own past hour"
_CLEARLY_SLOWER = 0.97
_HOUR_S = 3600.0
# A yardstick that was held down for most of its time is none.
_MOSTLY = 0.5
_HELD_DOWN = frozenset({"hw_slowdown", "hw_thermal", "sw_thermal", "hw_power_brake"})


class ClockLoss(Struct, frozen=True, kw_only=True, gc=False):
    """The SM clock of a busy GPU against what it usually is."""

    now_mhz: float
    usual_mhz: float
    known_from: str
    """Whose clock is the yardstick: the GPU's own past, its siblings, or the board's data sheet."""
    part: float
    """The part of the clock that is lost, 0 to 1: the most it can cost, for memory-bound work loses less."""


def is_busy(view: GpuView) -> bool:
    """Whether it works now; where nobody measures that (MIG), whether it does not say that it is idle."""
    used = view.mean("utilization_pct", LOOK_BACK_S)
    if used is None:
        used = view.gpu.utilization_pct
    if used is None:
        return view.gpu.throttle_reasons is not None and "idle" not in view.gpu.throttle_reasons
    return used >= _AT_WORK_PCT


def busy_mean(view: GpuView, name: str, seconds: float) -> float | None:
    """The mean of a series over the seconds in which the GPU was busy; its newest value where it has no series."""
    values, used = view.values(name, seconds), view.values("utilization_pct", seconds)
    if len(used) == len(values):
        worked = [value for value, busy in zip(values, used, strict=True) if busy >= _AT_WORK_PCT and value == value]  # noqa: PLR0124  # NaN differs from itself
        if worked:
            return sum(worked) / len(worked)
    return view.mean(name, seconds)


def clock_loss(window: Window, view: GpuView, held_by: tuple[str, ...]) -> ClockLoss | None:
    """What is lost while the reasons `held_by` hold; `None` for a GPU that does not work."""
    if not is_busy(view):
        return None
    now_mhz = busy_mean(view, "sm_clock_mhz", LOOK_BACK_S)
    usual = usual_clock(window, view, held_by)
    if now_mhz is None or usual is None or usual[0] <= 0:
        return None
    usual_mhz, known_from = usual
    lost = max(0.0, 1.0 - now_mhz / usual_mhz)
    # No more than the share of time in which the reasons hold: the rest has other grounds.
    shares = [share for reason in held_by if (share := share_of(view, reason)) is not None]
    return ClockLoss(
        now_mhz=now_mhz, usual_mhz=usual_mhz, known_from=known_from, part=min([lost, max(shares)] if shares else [lost])
    )


def usual_clock(window: Window, view: GpuView, held_by: tuple[str, ...]) -> tuple[float, str] | None:
    """What its clock should be: its own past if that was free of the trouble, else its siblings, else the data sheet."""
    baseline = view.baseline
    if baseline is not None and baseline.sm_clock_mhz and _was_free(view, held_by, baseline.busy_s):
        return baseline.sm_clock_mhz, OWN_PAST
    theirs = siblings_clock_mhz(window, view)
    if theirs is not None:
        return theirs, "its siblings"
    highest = view.gpu.sm_clock_max_mhz
    return (float(highest), "the highest it has") if highest else None


def siblings_clock_mhz(window: Window, view: GpuView) -> float | None:
    """The clock in the middle of the busy siblings that nothing unusual holds down."""
    free = [
        clock
        for one in window.siblings(view)
        if is_busy(one)
        and not _HELD_DOWN.intersection(one.gpu.throttle_reasons or ())
        and (clock := busy_mean(one, "sm_clock_mhz", LOOK_BACK_S)) is not None
    ]
    return median(free)


def _was_free(view: GpuView, held_by: tuple[str, ...], busy_s: int) -> bool:
    """Whether the reasons held for less than most of the hour's busy time; unknown without counters."""
    held = [seconds for reason in held_by if (seconds := _held_s(view, reason)) is not None]
    return bool(held) and max(held) < _MOSTLY * busy_s


def _held_s(view: GpuView, reason: str) -> float | None:
    """Seconds that a reason has held within the hour."""
    values = view.values(f"throttle_seconds.{reason}", _HOUR_S)
    oldest = next((value for value in values if value == value), None)  # noqa: PLR0124  # as above
    newest = next((value for value in reversed(values) if value == value), None)  # noqa: PLR0124  # as above
    if oldest is None or newest is None:
        return None
    return newest - oldest if newest >= oldest else newest


def severity_of(loss: ClockLoss | None, warning_loss: float, critical_loss: float) -> Severity:
    """By what it costs, not by how low the clock is."""
    if loss is None or loss.part < warning_loss:
        return "info"
    return "critical" if loss.part >= critical_loss else "warning"


def told(loss: ClockLoss | None) -> dict[str, float | int | str | None]:
    """The loss as evidence."""
    if loss is None:
        return {}
    return {
        "sm_clock_mhz": round(loss.now_mhz),
        "usual_sm_clock_mhz": round(loss.usual_mhz),
        "usual_known_from": loss.known_from,
        "clock_loss_pct": round(100 * loss.part, 1),
    }


def clocks_in_words(loss: ClockLoss | None) -> str:
    """As `945 of 1,980 MHz, up to 52 % slower`; empty for a GPU that does not work."""
    if loss is None:
        return ""
    slower = round(100 * loss.part)
    cost = f", up to {slower} % slower" if slower >= 1 else ""
    return f"{loss.now_mhz:,.0f} of {loss.usual_mhz:,.0f} MHz{cost}"


def group_waits(window: Window, view: GpuView) -> str:
    """Who else pays: half a sentence about the group that keeps step, where this GPU is the slowest of it."""
    own = busy_mean(view, "sm_clock_mhz", LOOK_BACK_S)
    group = next((group for group in window.groups if group.lockstep and view.uuid in group.uuids), None)
    if group is None or own is None:
        return ""
    others = [one for one in window.members(group) if one is not view]
    theirs = [clock for one in others if (clock := busy_mean(one, "sm_clock_mhz", LOOK_BACK_S)) is not None]
    if not theirs or own > _CLEARLY_SLOWER * min(theirs):
        return ""
    if len(others) == 1:
        return f"; GPU {others[0].index} waits for it"
    return f"; the other {len(others)} GPUs of its group wait for it"
