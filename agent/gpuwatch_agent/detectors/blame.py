"""Who holds a group back, and why: judged once for all kinds of findings that speak of it, so that none contradicts another."""

from msgspec import Struct, structs

from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lateness import Lateness, late_ranks, stands_out
from gpuwatch_agent.detectors.lockstep import Working, working
from gpuwatch_agent.detectors.why_late import Cause, cause_of
from gpuwatch_agent.detectors.window import Window

# Said once, it stays until nearly half of the loss is gone.
_LENIENCY = 0.6


class Blame(Struct, frozen=True, kw_only=True):
    """A group that is held back."""

    group: Working
    late: list[Lateness]
    """Who holds it back, the latest first."""
    cause: Cause | None
    """Why the first of them is late; `None` where nothing explains it."""


def blame(window: Window, group: Group, least_loss_pct: float, *, lenient: bool) -> Blame | None:
    """The verdict over a group from this loss of pace on; `lenient` for what was said already (hysteresis)."""
    key = f"blame/{group.id}/{least_loss_pct}/{lenient}"
    if key not in window.memo:
        leniency = _LENIENCY if lenient else 1.0
        window.memo[key] = _blame(window, group, leniency * least_loss_pct / 100.0, leniency)
    found = window.memo[key]
    return found if isinstance(found, Blame) else None


def _blame(window: Window, group: Group, least: float, leniency: float) -> Blame | None:
    at_work = working(window, group)
    late = stands_out(late_ranks(at_work, leniency), least) if at_work is not None else []
    if at_work is None or not late:
        return None
    cause = cause_of(at_work, late[0])
    return Blame(group=at_work, late=[_no_more_than(late[0], cause), *late[1:]], cause=cause)


def _no_more_than(late: Lateness, cause: Cause | None) -> Lateness:
    """No more is claimed than the cause can bring."""
    if cause is None or cause.most is None or late.loss <= cause.most:
        return late
    return structs.replace(late, loss=cause.most, estimated_from="the most that its cause can bring")
