"""A group that works in step, measured: how much each rank works and how much it waits.

A rank that waits in a collective spins at 100 % utilisation. What falls while it waits is the activity of its SMs and,
with it, its power; so the rank that waits least is the late one. Seconds count only where all ranks have a reading and
the group was at work: a burst that one sensor missed must not look like a difference between ranks.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import nan, sqrt
from operator import itemgetter

from msgspec import Struct

from gpuwatch_agent.detectors.foreign import computing_strangers
from gpuwatch_agent.detectors.frozen import without_frozen
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.process import Process

WINDOW_S = 20.0
# Fewer seconds of work than this say nothing.
_LEAST_SECONDS = 6
_LEAST_SHARE = 0.4
AT_WORK_PCT = 50.0
# Ranks whose processes are younger still load, compile and warm up, each at its own pace.
SETTLED_AFTER_S = 60.0
_LOADING_SHARE = 0.02
# After loading come compiling and capturing, at each rank's own pace; an old job's growth is a leak and no loading.
_WARMS_UP_S = 120.0
_YOUNG_S = 900.0
# What a board draws at full clocks while it waits, as a share of its limit: 25 to 45 % on boards from V100 to H100.
_WAITING_POWER = 0.38
# Power falls somewhat faster than the clock; a low exponent claims less than the truth.
_POWER_BY_CLOCK = 1.1
# Leakage grows with the chip's temperature: some tenths of a percent of all power a degree.
_LEAKS_PER_C = 0.003
# So much a late rank gets warmer and its siblings colder by the delay itself.
_WARMS_ALONE_C = 8.0
# Waiting in NCCL keeps some SMs occupied: percent of them at full utilisation.
_WAITING_SM_PCT = 12.0
# Under this a fabric carries nothing but heartbeats.
SILENT_BYTES_PER_S = 5e6


class Rank(Struct, kw_only=True):
    """One rank over the window: means over the seconds in which the whole group was at work."""

    view: GpuView
    utilization_pct: float
    power_w: float
    sm_clock_mhz: float | None = None
    work: float
    """How much it computes, against its siblings: waiting taken out, the clock's part taken out."""
    usual_work: float | None = None
    """The same against its own past; `None` where one of the group has no past yet."""
    noise: float = 0.0
    """How far `work` may be off for the noise of the sensors alone, as a share of it: one standard error."""
    leaked: float = 0.0
    """What share of `work` may be nothing but leakage: a board that is warmer than before, unlike its siblings."""
    clock_ratio: float | None = None
    """Its SM clock against its siblings', and where there is a past, against its own."""
    strangers: list[Process] = []
    """Programs on its GPU that are not the group's and may compute there."""


class Working(Struct, frozen=True, kw_only=True):
    """A group that has worked in the window."""

    group: Group
    ranks: list[Rank]
    by_activity: bool
    """Whether `work` is from SM activity (GPM); else it is from power."""
    alike: bool
    """Whether all boards are of one model."""
    seconds: int
    bytes_ratio: float | None = None
    """Bytes over the links now against what is usual: in lockstep each step moves the same bytes."""
    nvlink_bytes_per_s: float | None = None
    pcie_bytes_per_s: float | None = None

    @property
    def over_pcie(self) -> bool:
        """Whether collectives go over PCIe, as far as the bytes tell."""
        pcie, nvlink = self.pcie_bytes_per_s, self.nvlink_bytes_per_s
        return pcie is not None and (nvlink is None or pcie >= 0.3 * nvlink)


def working(window: Window, group: Group) -> Working | None:
    """The group as it worked in the last seconds; `None` where it did not, or where that can't be told."""
    key = f"working/{group.id}"
    if key not in window.memo:
        window.memo[key] = _working(window, group)
    found = window.memo[key]
    return found if isinstance(found, Working) else None


def _working(window: Window, group: Group) -> Working | None:
    if not group.lockstep or window.watched_s < _LEAST_SECONDS or not settled(window, group):
        return None
    views = [view for view in window.members(group) if _readable(view)]
    if len(views) < 2 or 2 * len(views) < len(group.uuids):
        return None
    utilization = [view.values("utilization_pct", WINDOW_S) for view in views]
    strangers = computing_strangers(window, group)
    # A stranger keeps its GPU busy in the group's pauses: when the group worked is told by those without one.
    own = [column for view, column in zip(views, utilization, strict=True) if view.uuid not in strangers]
    places = _places_at_work(own if 2 * len(own) >= len(views) else utilization)
    if places is None:
        return None
    places = _inner(places)
    taken: Callable[[Sequence[float]], tuple[float, ...]] = itemgetter(*places)
    nvlink = _means(taken, [view.values("nvlink.tx_bytes_per_s", WINDOW_S) for view in views])
    pcie = _means(taken, [view.values("pcie.tx_bytes_per_s", WINDOW_S) for view in views])
    if not _in_step(views, nvlink, pcie):
        return None
    clock = _means(taken, [view.values("sm_clock_mhz", WINDOW_S) for view in views])
    shares = [view.values("sm_activity_pct", WINDOW_S) for view in views]
    activity = _means(taken, shares)
    draws = [view.values("power_w", WINDOW_S) for view in views]
    power = _means(taken, draws if activity is not None else without_frozen(draws))
    if power is None:
        return None
    alike = len({view.gpu.name for view in views}) == 1
    busy = _means(taken, utilization) or [100.0] * len(views)
    ranks = [
        Rank(
            view=view,
            utilization_pct=busy[place],
            power_w=power[place],
            sm_clock_mhz=clock[place] if clock is not None else None,
            work=1.0,
            strangers=strangers.get(view.uuid, []),
        )
        for place, view in enumerate(views)
    ]
    by_activity = activity is not None and min(activity) > 0
    if by_activity and activity is not None:
        _weigh_activity(ranks, activity)
        _note_noise(ranks, [taken(column) for column in shares])
    else:
        _weigh_power(ranks, alike=alike)
    _compare_clocks(ranks, alike=alike)
    return Working(
        group=group,
        ranks=ranks,
        by_activity=by_activity,
        alike=alike,
        seconds=len(places),
        bytes_ratio=_bytes_ratio(views, nvlink, pcie),
        nvlink_bytes_per_s=lower_median(nvlink) if nvlink else None,
        pcie_bytes_per_s=lower_median(pcie) if pcie else None,
    )


def settled(window: Window, group: Group) -> bool:
    """Whether the ranks have been there for a while and do not load: their first minute is no evidence."""
    grown = []
    for view in window.members(group):
        age_s = _age_s(window, group, view)
        if age_s < SETTLED_AFTER_S:
            return False
        if age_s < _YOUNG_S and _grown(view, _WARMS_UP_S) >= _LOADING_SHARE:
            return False
        grown.append(_grown(view, WINDOW_S))
    # One GPU alone may take in a neighbour; a model that is loaded grows on most.
    return not grown or lower_median(grown) < _LOADING_SHARE


def _age_s(window: Window, group: Group, view: GpuView) -> float:
    """Of the group's youngest process there; in a declared group a newcomer may be a stranger, so the oldest counts."""
    processes = [one for one in view.gpu.processes or () if group.declared or one.tp_group == group.id]
    ages = [window.wall - (process.started_at or 0.0) for process in processes]
    return (max if group.declared else min)(ages, default=_YOUNG_S)


def _grown(view: GpuView, seconds: float) -> float:
    """By what part of its memory it holds more than so long ago; 0 where that is unknown."""
    used, before, total = (
        view.gpu.memory_used_bytes,
        view.first("memory_used_bytes", seconds),
        view.gpu.memory_total_bytes,
    )
    return (used - before) / total if used is not None and before is not None and total else 0.0


def lower_median(values: Sequence[float]) -> float:
    """The middle value, the lower of two: a value that was measured."""
    return sorted(values)[(len(values) - 1) // 2]


def _readable(view: GpuView) -> bool:
    mig = view.gpu.mig
    if not view.answers or (mig is not None and mig.enabled):
        return False
    return view.mean("utilization_pct", WINDOW_S) is not None and view.mean("power_w", WINDOW_S) is not None


def _places_at_work(utilization: Sequence[Sequence[float]]) -> list[int] | None:
    """The seconds in which at least half of the ranks that were read were busy."""
    read = 0
    at_work = []
    for place, row in enumerate(zip(*utilization, strict=False)):
        ordered = sorted(row)
        total = sum(row)
        if total != total:  # noqa: PLR0124  # one NaN in a row makes their sum one
            ordered = sorted(_present(row))
            if 2 * len(ordered) < len(row):
                continue
        read += 1
        if ordered[len(ordered) // 2] >= AT_WORK_PCT:
            at_work.append(place)
    return at_work if len(at_work) >= max(_LEAST_SECONDS, _LEAST_SHARE * read) else None


def _inner(places: list[int]) -> list[int]:
    """Without the first second after a pause, of which each sensor averages another part; all where few would be left."""
    inner = [place for before, place in pairwise(places) if place == before + 1]
    # What was before the window is unknown, and as good as the rest where it begins at work.
    inner = [places[0], *inner] if places[0] == 0 else inner
    return inner if len(inner) >= _LEAST_SECONDS else places


def _present(values: Sequence[float]) -> list[float]:
    return [value for value in values if value == value]  # noqa: PLR0124  # NaN is what differs from itself


def _means(
    taken: Callable[[Sequence[float]], tuple[float, ...]], columns: Sequence[Sequence[float]]
) -> list[float] | None:
    """Each column's mean over the seconds at work; `None` where one of them has too few values."""
    if not all(columns):
        return None
    kept = [taken(column) for column in columns]
    means = [sum(column) / len(column) for column in kept]
    total = sum(means)
    if total == total:  # noqa: PLR0124
        return means
    # A second that one rank missed says as much of the others: each is held against the middle of its second.
    middles = [
        lower_median(present) if 2 * len(present := _present(row)) >= len(row) else nan
        for row in zip(*kept, strict=True)
    ]
    usual = _present(middles)
    if len(usual) < _LEAST_SECONDS:
        return None
    level = sum(usual) / len(usual)
    found = []
    for column in kept:
        ratios = _present([value / middle if middle else nan for value, middle in zip(column, middles, strict=True)])
        if len(ratios) < _LEAST_SECONDS:
            return None
        found.append(level * sum(ratios) / len(ratios))
    return found


def _in_step(views: Sequence[GpuView], nvlink: Sequence[float] | None, pcie: Sequence[float] | None) -> bool:
    """Ranks of one group move about the same bytes; independent servers, and ranks without requests, do not."""
    rates = _main_fabric(nvlink, pcie)
    if rates is None:
        # Without counters memory traffic must do.
        traffic = [view.mean("memory_utilization_pct", WINDOW_S) for view in views]
        known = [percent for percent in traffic if percent is not None]
        return not known or max(known) >= 1.0
    return lower_median(rates) >= SILENT_BYTES_PER_S and min(rates) >= 0.25 * max(rates)


def _main_fabric(nvlink: Sequence[float] | None, pcie: Sequence[float] | None) -> Sequence[float] | None:
    """Each rank's bytes per second where most of them go."""
    if nvlink is None or pcie is None:
        return pcie if nvlink is None else nvlink
    return nvlink if lower_median(nvlink) >= lower_median(pcie) else pcie


def _weigh_activity(ranks: Sequence[Rank], activity: Sequence[float]) -> None:
    least = min(activity)
    usual: list[float | None] = []
    for rank, percent in zip(ranks, activity, strict=True):
        waiting = min(_WAITING_SM_PCT * rank.utilization_pct / 100.0, 0.5 * least)
        rank.work = percent - waiting
        baseline = rank.view.baseline
        before = baseline.sm_activity_pct if baseline is not None else None
        usual.append(rank.work / (before - waiting) if before is not None and before > 1.5 * waiting else None)
    _note_usual(ranks, usual)


def _note_noise(ranks: Sequence[Rank], columns: Sequence[Sequence[float]]) -> None:
    """From how each rank scatters about its siblings from second to second: load moves all alike, noise does not."""
    rows = [(row, total) for row in zip(*columns, strict=True) if (total := sum(row)) == total]
    if len(rows) < _LEAST_SECONDS:
        return
    siblings = len(ranks) - 1
    for place, rank in enumerate(ranks):
        apart = [row[place] - (total - row[place]) / siblings for row, total in rows]
        mean = sum(apart) / len(apart)
        variance = sum((value - mean) ** 2 for value in apart) / len(apart)
        rank.noise = sqrt(variance / len(apart)) / max(1.0, rank.work)


def _weigh_power(ranks: Sequence[Rank], *, alike: bool) -> None:
    """Power above what waiting takes, as it were at the siblings' clock."""
    least_w = min(rank.power_w for rank in ranks)
    clocks = [rank.sm_clock_mhz for rank in ranks if rank.sm_clock_mhz]
    common_mhz = lower_median(clocks) if len(clocks) == len(ranks) else None
    usual: list[float | None] = []
    for rank in ranks:
        gpu, baseline = rank.view.gpu, rank.view.baseline
        limit_w = gpu.power_limit_default_w or gpu.power_limit_w
        waiting_w = min(_WAITING_POWER * limit_w, 0.6 * least_w) if limit_w else 0.6 * least_w
        rank.work = _effort(rank.power_w - waiting_w, rank.sm_clock_mhz, common_mhz if alike else rank.sm_clock_mhz)
        before_w = baseline.power_w if baseline is not None else None
        if before_w is None or baseline is None or before_w <= waiting_w:
            usual.append(None)
        else:
            before = _effort(before_w - waiting_w, baseline.sm_clock_mhz, rank.sm_clock_mhz)
            usual.append((rank.power_w - waiting_w) / before)
    _note_usual(ranks, usual)
    _note_leakage(ranks)


def _note_leakage(ranks: Sequence[Rank]) -> None:
    warmer = [_warmer_c(rank.view) for rank in ranks]
    known = [degrees for degrees in warmer if degrees is not None]
    if len(known) < len(ranks):
        return
    for place, rank in enumerate(ranks):
        alone_c = known[place] - lower_median(known[:place] + known[place + 1 :])
        rank.leaked = _LEAKS_PER_C * max(0.0, alone_c - _WARMS_ALONE_C) * rank.power_w / max(1.0, rank.work)


def _warmer_c(view: GpuView) -> float | None:
    now, baseline = view.mean("temperature_c", WINDOW_S), view.baseline
    before = baseline.temperature_c if baseline is not None else None
    return now - before if now is not None and before is not None else None


def _effort(moving_w: float, clock_mhz: float | None, common_mhz: float | None) -> float:
    """Watts of work at a clock that is not its own."""
    moving_w = max(1.0, moving_w)
    return moving_w * (common_mhz / clock_mhz) ** _POWER_BY_CLOCK if clock_mhz and common_mhz else moving_w


def _note_usual(ranks: Sequence[Rank], usual: Sequence[float | None]) -> None:
    if None not in usual:
        for rank, ratio in zip(ranks, usual, strict=True):
            rank.usual_work = ratio


def _compare_clocks(ranks: Sequence[Rank], *, alike: bool) -> None:
    clocks = [rank.sm_clock_mhz for rank in ranks if rank.sm_clock_mhz]
    if len(clocks) < len(ranks):
        return
    baselines = [rank.view.baseline for rank in ranks]
    before = [baseline.sm_clock_mhz if baseline is not None else None for baseline in baselines]
    usual = [now / was if was else None for now, was in zip(clocks, before, strict=True)]
    known = [ratio for ratio in usual if ratio is not None]
    for place, rank in enumerate(ranks):
        among = clocks[place] / lower_median(clocks[:place] + clocks[place + 1 :]) if alike else None
        own = usual[place]
        if own is None or len(known) < len(ranks):
            rank.clock_ratio = among
            continue
        own /= lower_median(known[:place] + known[place + 1 :])
        # A board that always runs lower than its siblings is slow silicon, no fault.
        rank.clock_ratio = own if among is None else max(own, among)


def _bytes_ratio(
    views: Sequence[GpuView], nvlink: Sequence[float] | None, pcie: Sequence[float] | None
) -> float | None:
    """Now against usual, on the fabric that carries more."""
    rates = _main_fabric(nvlink, pcie)
    if rates is None:
        return None
    baselines = [view.baseline for view in views if view.baseline is not None]
    before = [one.nvlink_bytes_per_s if rates is nvlink else one.pcie_bytes_per_s for one in baselines]
    known = [rate for rate in before if rate]
    return lower_median(rates) / lower_median(known) if len(known) == len(views) else None
