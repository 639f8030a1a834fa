from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lockstep import SILENT_BYTES_PER_S, lower_median
from gpuwatch_agent.detectors.window import GpuView, Window

_SPINNING_PCT = 95.0
# Between idle and work: spinning boards draw 25 to 45 % of their limit.
_SPINNING_POWER = 0.5
_AGAINST_USUAL = 0.65
_WORK_SEEN_S = 10
_LATELY_S = 600.0
_HOUR_S = 3600.0
_GAP_BETWEEN_PAUSES_S = 5


class TpStalledSettings(DetectorSettings, frozen=True, kw_only=True):
    """A group whose ranks spin at 100 % while nothing moves: a collective that hangs."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 5.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 5.0
    silent_s: Annotated[float, Meta(description="How long nothing must have moved over the links.", ge=5, le=3600)] = (
        30.0
    )
    silent_without_counters_s: Annotated[
        float,
        Meta(description="The same for boards without byte counters, where memory traffic must do.", ge=5, le=3600),
    ] = 60.0

    def least_watch_s(self) -> float:
        return _WORK_SEEN_S + self.silent_s + self.raise_after_s


class TpStalledDetector:
    """Ranks that spin without ever having worked wait for requests; those that stopped in the middle of work hang."""

    kind: ClassVar[str] = "tp_stalled"
    settings: ClassVar[type[DetectorSettings]] = TpStalledSettings

    def detect(self, window: Window, settings: TpStalledSettings, raised: frozenset[str]) -> list[Suspicion]:
        found = []
        for group in window.groups:
            if not group.lockstep:
                continue
            views = [view for view in window.members(group) if view.answers]
            stall = _stall(views, settings) if len(views) >= 1 else None
            if stall is not None and (group.id in raised or _has_worked(window, group, stall)):
                found.append(_suspicion(window, group, stall))
        return found


class _Stall:
    """A group in which nothing moves."""

    def __init__(self, views: list[GpuView], absent: list[GpuView], traffic: str, seconds: float) -> None:
        self.views = views
        self.absent = absent
        """Ranks that do not even spin: the others wait for these."""
        self.traffic = traffic
        self.seconds = seconds


def _stall(views: list[GpuView], settings: TpStalledSettings) -> _Stall | None:
    traffic = _traffic_of(views)
    if traffic is None:
        return None
    seconds = settings.silent_without_counters_s if traffic == "memory_utilization_pct" else settings.silent_s
    spinning, absent = [], []
    for view in views:
        values = view.values("utilization_pct", seconds)
        if len(values) < seconds - 1:
            return None
        least = view.least("utilization_pct", seconds)
        if least is not None and least >= _SPINNING_PCT:
            spinning.append(view)
        elif (view.most("utilization_pct", seconds) or 0.0) <= 5.0:
            absent.append(view)
        else:
            return None
    if len(spinning) < 1 or len(absent) > len(spinning) or not all(_is_silent(view, seconds) for view in views):
        return None
    return _Stall(spinning, absent, traffic, seconds) if all(_near_idle(view, seconds) for view in spinning) else None


def _traffic_of(views: list[GpuView]) -> str | None:
    for name in ("nvlink.tx_bytes_per_s", "pcie.tx_bytes_per_s", "memory_utilization_pct"):
        if all(view.mean(name, 10.0) is not None for view in views):
            return name
    return None


def _is_silent(view: GpuView, seconds: float) -> bool:
    for name in ("nvlink.tx_bytes_per_s", "nvlink.rx_bytes_per_s", "pcie.tx_bytes_per_s", "pcie.rx_bytes_per_s"):
        most = view.most(name, seconds)
        if most is not None and most > SILENT_BYTES_PER_S:
            return False
    traffic = view.most("memory_utilization_pct", seconds)
    return traffic is None or traffic <= 1.0


def _near_idle(view: GpuView, seconds: float) -> bool:
    power_w = view.mean("power_w", seconds)
    limit_w = view.gpu.power_limit_default_w or view.gpu.power_limit_w
    if power_w is None or (limit_w is not None and power_w > _SPINNING_POWER * limit_w):
        return False
    usual_w = view.baseline.power_w if view.baseline is not None else None
    return usual_w is None or power_w <= _AGAINST_USUAL * usual_w


def _has_worked(window: Window, group: Group, stall: _Stall) -> bool:
    """Whether the same job moved bytes before, and has not spun like this for as long and gone on by itself."""
    view = stall.views[0]
    lasting = min(_HOUR_S, _age_s(window, group, view))
    bytes_moved = view.values(stall.traffic, lasting)
    silent = 1.0 if stall.traffic == "memory_utilization_pct" else SILENT_BYTES_PER_S
    worked, pause, longest = 0, 0, 0
    for amount in bytes_moved:
        if amount > silent:
            worked += 1
            if pause > _GAP_BETWEEN_PAUSES_S and worked > _WORK_SEEN_S:
                longest = max(longest, pause)
            pause = 0
        else:
            pause += 1
    return worked >= _WORK_SEEN_S and pause > 1.5 * longest


def _age_s(window: Window, group: Group, view: GpuView) -> float:
    started = [
        one.started_at for one in view.gpu.processes or () if one.tp_group == group.id and one.started_at is not None
    ]
    return max(1.0, window.wall - max(started)) if started else _HOUR_S


def _suspicion(window: Window, group: Group, stall: _Stall) -> Suspicion:
    lost = [view for view in window.gpus if view.gpu.state == "lost" and _belongs(view, group)]
    culprits = lost or stall.absent
    watts = lower_median([view.mean("power_w", stall.seconds) or 0.0 for view in stall.views])
    cause = _cause(window, group, lost, stall)
    who = f"GPUs {_list(stall.views)}" if len(stall.views) > 1 else stall.views[0].label
    return Suspicion(
        key=group.id,
        severity="critical",
        gpus=sorted(view.index for view in (culprits or stall.views)),
        summary=f"The group on {who} hangs: 100 % busy at {watts:.0f} W, and nothing has moved between its GPUs for "
        f"{stall.seconds:.0f} s or more.{f' {cause}' if cause else ''}",
        cause=cause,
        evidence={
            "group": group.id,
            "silent_s": stall.seconds,
            "power_w": round(watts),
            "judged_by": stall.traffic,
            "spinning_ranks": len(stall.views),
            "missing_ranks": len(lost) + len(stall.absent),
        },
        action="See which rank is elsewhere (`py-spy dump --pid` on each rank, NCCL_DEBUG=INFO, `dmesg | grep -i xid`), "
        "save what can be saved, and restart the job: a collective that has lost a rank does not recover.",
    )


def _cause(window: Window, group: Group, lost: list[GpuView], stall: _Stall) -> str | None:
    if lost:
        return f"{_named(lost)} no longer {'answers' if len(lost) == 1 else 'answer'}, and the others wait for it."
    if stall.absent:
        return f"{_named(stall.absent)} left the collective: idle while the others wait."
    for view in window.members(group):
        for xid in view.gpu.xids or ():
            if window.wall - xid.last_seen <= _LATELY_S:
                return f"{view.label} reported Xid {xid.code} shortly before."
    down = [
        view
        for view in stall.views
        if view.gpu.nvlink is not None
        and view.gpu.nvlink.active is not None
        and (view.most("nvlink.active", _HOUR_S) or 0) > view.gpu.nvlink.active
    ]
    return f"{_named(down)} lost an NVLink within the hour." if down else None


def _belongs(view: GpuView, group: Group) -> bool:
    """A GPU that is gone has no processes any more; a group that misses a rank may have had it there."""
    return view.uuid in group.uuids or (group.size is not None and group.size > len(group.uuids))


def _named(views: list[GpuView]) -> str:
    return views[0].label if len(views) == 1 else f"GPUs {_list(views)}"


def _list(views: list[GpuView]) -> str:
    return ", ".join(str(index) for index in sorted(view.index for view in views))
