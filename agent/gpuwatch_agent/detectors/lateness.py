"""Who is late in a group, by how much, and what it costs: shared by `tp_imbalance` and the imbalance scores."""

from collections.abc import Sequence

from msgspec import Struct

from gpuwatch_agent.detectors.link_loss import Fabric, link_losses
from gpuwatch_agent.detectors.lockstep import Rank, Working, lower_median

# What equal boards at equal work differ by: SM activity tells it to a few percent; silicon draws unequal power.
_ACTIVITY_TOLERANCE = 0.06
# So few points of SM activity above waiting are near the sensor's noise: their ratio says nothing.
_LEAST_ACTIVITY_PCT = 9.0
_POWER_TOLERANCE = 0.085
_POWER_TOLERANCE_OF_TWO = 0.115
# Silicon and its sensor read so much apart at equal work; of two nobody knows which one is the odd one.
_BOARDS_DIFFER = 1.12
_TWO_BOARDS_DIFFER = 1.15
# Against its own past a board is compared with itself, so less will do.
_PAST_TOLERANCE = 0.035
# Two boards show no scatter of siblings to hold a difference against.
_PAST_TOLERANCE_OF_TWO = 0.055
# Who has long been like that, and nothing came of it, is unlike its siblings by birth.
_KNOWN_TO_DIFFER = 2.0
# How far beyond the scatter of its siblings a late rank must stand, in robust standard deviations.
_STANDS_OUT = 3.5
_BEYOND_SCATTER = 0.02
_WIDEST_SCATTER = 1.7
# Standard errors of the sensors' noise that a difference must stand beyond; the yardstick has as much noise again.
_BEYOND_NOISE = 4.0
# A clock lower by less is the silicon's lottery under a power limit.
_CLOCK_TOLERANCE = 0.08
# The part of a step that the clock decides; memory and links decide the rest.
_BY_CLOCK = 0.9
# The part of a step that the late rank computes; the rest is the collective itself.
_COMPUTED = 0.88
_UTILIZATION_TOLERANCE_PCT = 10.0
_SPINNING_PCT = 90.0
# With requests for a part of the time, who runs out of work must be idle for clearly more of it than ranks that agree.
_HALF_EMPTY = 0.75
_ALIKE = 0.05
# A GPU without work draws at least so much less than one that spins: 26 W to 35 W on the boards where they are closest.
_IDLE_SAVES = 0.25
# Where light work draws less than spinning does, the late rank's power falls while the others' rises.
_FELL_ALONE = 0.09
_BYTES_FELL = 0.85


class Lateness(Struct, frozen=True, kw_only=True):
    """What makes one rank late, and the pace that leaves the group."""

    rank: Rank
    loss: float
    """The share of its pace that the group loses to it; 0 for what is within the scatter of healthy ranks."""
    lag: float
    """The same before scatter is taken off: it moves smoothly, and a healthy rank's is near 0."""
    sign: str
    """What told: "activity", "power", "fallen", "clock", "utilization" or "link"."""
    estimated_from: str
    fabric: Fabric | None = None
    """Whose link it is, where a link told."""


def late_ranks(group: Working, leniency: float = 1.0) -> list[Lateness]:
    """A verdict for every rank in the group's order; `leniency` below 1 keeps what was said already (hysteresis)."""
    found = _by_utilization(group)
    if found is None:
        found = _by_work(group, leniency)
        by_clock = None if group.by_activity else _by_clock(group)
        if by_clock is not None:
            # Power alone may point at a waiting rank where a late one is held down; its clock can't.
            found = [
                max(clock, work, key=_loss) if clock.loss else clock
                for clock, work in zip(by_clock, found, strict=True)
            ]
    by_link = _by_link(group)
    return [max(one, other, key=_loss) for one, other in zip(found, by_link, strict=True)]


def stands_out(verdicts: Sequence[Lateness], least: float) -> list[Lateness]:
    """The late ones, the latest first; none where most would be late, for then nobody is odd."""
    top = max(one.loss for one in verdicts)
    late = [one for one in verdicts if one.loss >= max(least, 0.5 * top)]
    return sorted(late, key=_loss, reverse=True) if 2 * len(late) <= len(verdicts) else []


def _loss(one: Lateness) -> tuple[float, float]:
    return one.loss, one.lag


def _by_utilization(group: Working) -> list[Lateness] | None:
    """A slow host: the late rank's GPU runs out of work while the others spin, at 100 % or as long as there are requests."""
    # A stranger keeps its GPU busy while the rank there waits: what it reads says nothing of who spins.
    own = sorted(rank.utilization_pct for rank in group.ranks if not rank.strangers)
    usual = own[len(own) // 2] if own else 0.0
    if usual <= 0:
        return None
    least = usual - _UTILIZATION_TOLERANCE_PCT if usual >= _SPINNING_PCT else _HALF_EMPTY * usual
    idle = [rank for rank in group.ranks if rank.utilization_pct <= least]
    if not idle or any(_draws_as_if_busy(group, rank, usual) for rank in idle):
        return None
    if usual < _SPINNING_PCT and not _alike_but(idle, group, usual):
        return None
    verdicts = []
    for rank in group.ranks:
        lag = max(0.0, 1.0 - rank.utilization_pct / usual)
        verdicts.append(
            Lateness(
                rank=rank,
                loss=lag if rank.utilization_pct <= least else 0.0,
                lag=lag,
                sign="utilization",
                estimated_from="utilisation of the late rank against the waiting ones",
            )
        )
    return verdicts


def _alike_but(idle: list[Rank], group: Working, usual: float) -> bool:
    """Whether the others, of which there are several, are busy for the same part of the time: they wait for one another."""
    others = [rank.utilization_pct for rank in group.ranks if rank not in idle]
    return len(idle) == 1 and len(others) > 1 and max(others) - min(others) <= _ALIKE * usual


def _draws_as_if_busy(group: Working, rank: Rank, usual: float) -> bool:
    """Whether its power denies what its utilisation says: a sensor that stands still, and no host that is slow.

    Who is out of work for a part of the time does the same work as its siblings in the rest, and saves what they spin.
    """
    if not group.alike:
        return False
    others = [one.power_w for one in group.ranks if one is not rank]
    most = _BOARDS_DIFFER if len(others) > 1 else _TWO_BOARDS_DIFFER
    idle = 1.0 - rank.utilization_pct / usual
    return rank.power_w > most * (1.0 - _IDLE_SAVES * idle) * lower_median(others)


def _by_work(group: Working, leniency: float) -> list[Lateness]:
    """Who computes while the others wait: today against its siblings, and where there is a past, against that."""
    usual = [rank.usual_work for rank in group.ranks if rank.usual_work is not None]
    noise = [rank.noise for rank in group.ranks]
    tolerance = _PAST_TOLERANCE if group.by_activity or len(usual) > 2 else _PAST_TOLERANCE_OF_TWO
    tolerance_before = leniency * tolerance
    against_past = _waits(usual, tolerance_before, leniency, noise) if len(usual) == len(group.ranks) else None
    among = None
    if _comparable(group):
        tolerance = _tolerance(group) * (leniency if against_past is None else _KNOWN_TO_DIFFER)
        among = _waits([rank.work for rank in group.ranks], tolerance, leniency, noise)
    verdicts = []
    for place, rank in enumerate(group.ranks):
        wait, lag = among[place] if among is not None else (0.0, 0.0)
        if wait and not group.by_activity and not _beyond_silicon(group, place, leniency):
            wait = 0.0
        if against_past is not None:
            before, lag_before = against_past[place]
            before = before if before > rank.leaked + tolerance_before else 0.0
            # Right after a long fault the past is no yardstick: what it says must show among siblings too.
            if among is None or lag >= 0.35 * before:
                wait = max(wait, before)
            lag = lag_before if among is None else min(lag, max(wait, lag_before))
        fell = _fell_alone(group, usual, place, leniency) if against_past is not None else 0.0
        if group.by_activity and rank.work < _LEAST_ACTIVITY_PCT:
            wait = lag = 0.0
        verdicts.append(_fallen(rank, fell) if fell else _verdict(group, rank, wait, lag))
    return verdicts


def _fell_alone(group: Working, usual: Sequence[float], place: int, leniency: float) -> float:
    """The loss where one rank's power alone fell against its past while the group moves fewer bytes; else 0.

    Less demand lowers all alike. Without bytes it may be a stranger that left, so both must say it.
    """
    bytes_ratio = group.bytes_ratio
    if group.by_activity or len(usual) < 3 or bytes_ratio is None or bytes_ratio > _BYTES_FELL:
        return 0.0
    others = [*usual[:place], *usual[place + 1 :]]
    middle = lower_median(others)
    scatter = 1.48 * lower_median([abs(one / middle - 1.0) for one in others])
    fell = 1.0 - usual[place] / middle
    if fell < leniency * max(_FELL_ALONE, _BEYOND_SCATTER + _STANDS_OUT * scatter):
        return 0.0
    return min(1.0 - bytes_ratio, 2.0 * fell)


def _fallen(rank: Rank, loss: float) -> Lateness:
    source = "its power against its own past, unlike the siblings', and bytes per second against the last hour's"
    return Lateness(rank=rank, loss=loss, lag=loss, sign="fallen", estimated_from=source)


def _beyond_silicon(group: Working, place: int, leniency: float) -> bool:
    """Whether it draws more than boards of one model differ by: against siblings alone power says no finer thing."""
    draws = [rank.power_w for rank in group.ranks]
    differ = (_BOARDS_DIFFER if len(draws) > 2 else _TWO_BOARDS_DIFFER) - 1.0
    return draws[place] >= (1.0 + leniency * differ) * lower_median(draws[:place] + draws[place + 1 :])


def _comparable(group: Working) -> bool:
    return group.alike or group.by_activity


def _tolerance(group: Working) -> float:
    if group.by_activity:
        return _ACTIVITY_TOLERANCE
    return _POWER_TOLERANCE if len(group.ranks) > 2 else _POWER_TOLERANCE_OF_TWO


def _waits(
    work: Sequence[float], tolerance: float, leniency: float, noise: Sequence[float]
) -> list[tuple[float, float]]:
    """For each rank the share of the time that the others wait for it: beyond healthy scatter, and as it is."""
    middle = max(1e-9, lower_median(work))
    scatter = 1.48 * lower_median([abs(one / middle - 1.0) for one in work])
    # A few ranks tell little of their scatter; beyond this no healthy board is from its siblings.
    beyond = min(_BEYOND_SCATTER + _STANDS_OUT * scatter, _WIDEST_SCATTER * tolerance / max(1e-9, leniency))
    least = max(tolerance, leniency * beyond)
    found = []
    for place, own in enumerate(work):
        others = sorted([*work[:place], *work[place + 1 :]])
        # The upper middle: of two siblings both must wait, for one alone may just be odd itself.
        wait = max(0.0, 1.0 - others[len(others) // 2] / max(1e-9, own))
        found.append((wait if wait > max(least, leniency * _BEYOND_NOISE * noise[place]) else 0.0, wait))
    return found


def _verdict(group: Working, rank: Rank, wait: float, lag: float) -> Lateness:
    """From the time that the others wait to the pace that is lost."""
    loss = _COMPUTED * wait
    sign = "activity" if group.by_activity else "power"
    source = f"{'SM activity' if group.by_activity else 'power'} of the waiting ranks against the late one's"
    if wait and group.bytes_ratio is not None:
        down, up = (0.02, 0.05) if group.by_activity else (0.04, 0.12)
        if not group.by_activity and len(group.ranks) == 2:
            # The power of two boards is too weak a witness to be believed more for what demand may have done.
            up = 0.0
        # Demand moves the bytes too, so they may only refine what the ranks show, and make no much of a little.
        loss = min(max(1.0 - group.bytes_ratio, loss - down), loss + min(up, loss))
        source += ", and bytes per second against the last hour's"
    return Lateness(rank=rank, loss=loss, lag=_COMPUTED * lag, sign=sign, estimated_from=source)


def _by_clock(group: Working) -> list[Lateness] | None:
    """Without SM activity a rank held down draws no more than the waiting ones, but its clock tells."""
    ratios = [rank.clock_ratio for rank in group.ranks]
    if not any(ratio is not None and ratio < 1.0 - _CLOCK_TOLERANCE for ratio in ratios):
        return None
    verdicts = []
    for rank in group.ranks:
        ratio = rank.clock_ratio
        loss, source = 0.0, "SM clock against the siblings'"
        if ratio is not None and ratio < 1.0 - _CLOCK_TOLERANCE:
            loss = 1.0 - 1.0 / (_BY_CLOCK / ratio + 1.0 - _BY_CLOCK)
            if group.bytes_ratio is not None:
                # Memory may decide the pace: bytes tell when the clock costs less than it looks.
                loss = min(max(1.0 - group.bytes_ratio, 0.0), loss + 0.1)
                source += ", and bytes per second against the last hour's"
        verdicts.append(Lateness(rank=rank, loss=loss, lag=loss, sign="clock", estimated_from=source))
    return verdicts


def _by_link(group: Working) -> list[Lateness]:
    """A link that is odd slows all alike: nobody stands out, but the link itself does."""
    return [
        Lateness(
            rank=rank, loss=one.loss, lag=one.loss, sign="link", estimated_from=one.estimated_from, fabric=one.fabric
        )
        for rank, one in zip(group.ranks, link_losses(group), strict=True)
    ]
