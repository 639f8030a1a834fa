"""Who holds a group back, and why: judged once for all kinds of findings that speak of it, so that none contradicts another."""

from msgspec import Struct, structs

from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lateness import Lateness, late_ranks, stands_out
from gpuwatch_agent.detectors.lockstep import Working, working
from gpuwatch_agent.detectors.why_late import Cause, cause_of
from gpuwatch_agent.detectors.window import Window

# Said once, it stays until nearly half of the loss is gone.
_LENIENCY = 0.6
_NOBODY: frozenset[int] = frozenset()


class Blame(Struct, frozen=True, kw_only=True):
    """A group that is held back."""

    group: Working
    late: list[Lateness]
    """Who holds it back, the latest first."""
    cause: Cause | None
    """Why the first of them is late; `None` where nothing explains it."""


def blame(window: Window, group: Group, least_loss_pct: float, *, named: frozenset[int] = _NOBODY) -> Blame | None:
    """The verdict over a group from this loss of pace on; lenient to the GPUs that were named already (hysteresis)."""
    key = f"blame/{group.id}/{least_loss_pct}/{sorted(named)}"
    if key not in window.memo:
        window.memo[key] = _blame(window, group, least_loss_pct / 100.0, named)
    found = window.memo[key]
    return found if isinstance(found, Blame) else None


def _blame(window: Window, group: Group, least: float, named: frozenset[int]) -> Blame | None:
    at_work = working(window, group)
    if at_work is None:
        return None
    late = stands_out(_verdicts(at_work, least, named), _LENIENCY * least if named else least)
    if not late:
        return None
    cause = cause_of(at_work, late[0])
    return Blame(group=at_work, late=[_no_more_than(late[0], cause), *late[1:]], cause=cause)


def _verdicts(group: Working, least: float, named: frozenset[int]) -> list[Lateness]:
    """Who was named stays so on weaker signs; that one of them was is no sign against another."""
    strict = late_ranks(group)
    if not named:
        return strict
    return [
        kept if one.rank.view.index in named else one if one.loss >= least else structs.replace(one, loss=0.0)
        for one, kept in zip(strict, late_ranks(group, _LENIENCY), strict=True)
    ]


def _no_more_than(late: Lateness, cause: Cause | None) -> Lateness:
    """No more is claimed than the cause can bring."""
    if cause is None or cause.most is None or late.loss <= cause.most:
        return late
    return structs.replace(late, loss=cause.most, estimated_from="the most that its cause can bring")
