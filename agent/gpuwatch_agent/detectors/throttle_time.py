"""For how much of the last seconds something held the clocks down, told alike to all detectors that ask."""

from msgspec import Struct

from gpuwatch_agent.detectors.heat import FAR_FROM_LIMIT_C, headroom
from gpuwatch_agent.detectors.window import GpuView

LOOK_BACK_S = 10.0
"""Long enough to smooth single samples, short enough to speak within fifteen seconds."""
THERMAL_SHARE = 0.05
_COUNTED_AS_ONE = 0.9


class ThermalHold(Struct, frozen=True, kw_only=True, gc=False):
    """Heat holds the clocks down."""

    share: float | None
    """The share of the last seconds; `None` where the board only says that it does now."""
    by_hardware: bool
    """The hardware's own emergency brake, which the driver's gentle control should have made needless."""


def share_of(view: GpuView, reason: str, seconds: float = LOOK_BACK_S) -> float | None:
    """The share of time in which `reason` held the clocks down, 0 to 1; `None` where no counter tells."""
    return view.share(f"throttle_seconds.{reason}", seconds)


def thermal_hold(view: GpuView, least_share: float = THERMAL_SHARE) -> ThermalHold | None:
    """Whether heat holds the clocks of this GPU down: by the counters, and by the reasons where those are missing."""
    software, hardware = share_of(view, "sw_thermal"), share_of(view, "hw_thermal")
    reasons = view.gpu.throttle_reasons or ()
    share = max(software or 0.0, hardware or 0.0)
    if share >= least_share:
        by_hardware = (hardware or 0.0) >= least_share or (hardware is None and "hw_thermal" in reasons)
        if not by_hardware and _is_the_power_cap(view, share):
            return None
        return ThermalHold(share=share, by_hardware=by_hardware)
    if hardware is None and ("hw_thermal" in reasons or _slowed_at_its_limit(view)):
        return ThermalHold(share=None, by_hardware=True)
    if software is None and "sw_thermal" in reasons and not _is_cool(view):
        return ThermalHold(share=None, by_hardware=False)
    return None


def _is_the_power_cap(view: GpuView, share: float) -> bool:
    """Some boards count power capping as thermal time as well: a GB200 at 28 °C had both, equal to the microsecond."""
    capped = share_of(view, "sw_power_cap")
    return capped is not None and capped >= _COUNTED_AS_ONE * share and _is_cool(view)


def _slowed_at_its_limit(view: GpuView) -> bool:
    """Boards before the finer reasons say only that hardware slowed them."""
    if "hw_slowdown" not in (view.gpu.throttle_reasons or ()):
        return False
    known = headroom(view)
    return known is not None and known.left_c <= 0


def _is_cool(view: GpuView) -> bool:
    known = headroom(view)
    return known is not None and known.left_c > FAR_FROM_LIMIT_C


def braked_share(view: GpuView) -> float | None:
    """The share of time in which the power brake was pulled; 1 where no counter tells and it is pulled now."""
    share = share_of(view, "hw_power_brake")
    if share is not None:
        return share
    reasons = view.gpu.throttle_reasons
    return None if reasons is None else float("hw_power_brake" in reasons)
