from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lockstep import SILENT_BYTES_PER_S, lower_median
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity

_SPINNING_PCT = 95.0
# Between idle and work: spinning boards draw up to 45 % of their limit.
_SPINNING_POWER = 0.5
# Ranks that wait for requests in a spin draw 24 to 45 % of the limit; who is full and draws less has stopped altogether.
_NEAR_IDLE_POWER = 0.22
_AGAINST_USUAL = 0.65
_WORK_SEEN_S = 10
_LATELY_S = 600.0
_HOUR_S = 3600.0
_GAP_BETWEEN_PAUSES_S = 5
# Demand ebbs away over seconds; a hang strikes in the middle of work.
_JUST_BEFORE_S = 5
_FULL_TILT = 0.6
_FALL_OF_POWER = 1.25


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
    silent_unworked_s: Annotated[
        float,
        Meta(
            description="The same for ranks that nobody has seen at work, if they draw hardly more than idle boards.",
            ge=5,
            le=3600,
        ),
    ] = 90.0
    silent_spinning_s: Annotated[
        float,
        Meta(
            description="The same for ranks that draw as much as idle engines that spin: then it is but a warning.",
            ge=5,
            le=3600,
        ),
    ] = 60.0

    def least_watch_s(self) -> float:
        return _WORK_SEEN_S + self.silent_s + self.raise_after_s


class TpStalledDetector:
    """Tells a hang from ranks that spin for want of requests: by what they draw, and by how their work ended."""

    kind: ClassVar[str] = "tp_stalled"
    settings: ClassVar[type[DetectorSettings]] = TpStalledSettings

    def detect(self, window: Window, settings: TpStalledSettings, raised: frozenset[str]) -> list[Suspicion]:
        found = []
        for group in window.groups:
            if not group.lockstep:
                continue
            views = [view for view in window.members(group) if view.answers]
            stall = _stall(views, _patience_s(views, settings)) if views else None
            if stall is None:
                continue
            severity = _severity(window, group, stall, settings)
            if severity is None and group.id in raised:
                severity = window.said.get((self.kind, group.id), "warning")
            if severity is not None:
                found.append(_suspicion(window, group, stall, severity))
        return found


class _Stall:
    """A group in which nothing moves."""

    def __init__(self, views: list[GpuView], absent: list[GpuView], traffic: str, seconds: float) -> None:
        self.views = views
        """Those that spin."""
        self.absent = absent
        """Ranks that do not even spin: the others wait for these."""
        self.traffic = traffic
        self.seconds = seconds


def _patience_s(views: list[GpuView], settings: TpStalledSettings) -> float:
    by_memory = _traffic_of(views) == "memory_utilization_pct"
    return settings.silent_without_counters_s if by_memory else settings.silent_s


def _stall(views: list[GpuView], seconds: float) -> _Stall | None:
    """The group, if nothing has moved in it for so long while most of it spins."""
    traffic = _traffic_of(views)
    if traffic is None:
        return None
    spinning, absent = [], []
    for view in views:
        values = view.values("utilization_pct", seconds)
        if len(values) < seconds - 1:
            return None
        least, most = view.least("utilization_pct", seconds), view.most("utilization_pct", seconds)
        if least is None or most is None:
            # Who was not read is neither: it need not be idle, nor must it hide that the others hang.
            continue
        if least >= _SPINNING_PCT:
            spinning.append(view)
        elif most <= 5.0:
            absent.append(view)
        else:
            return None
    if len(spinning) < 1 or len(absent) > len(spinning) or not all(_is_silent(view, seconds) for view in views):
        return None
    return _Stall(spinning, absent, traffic, seconds) if all(_near_idle(view, seconds) for view in spinning) else None


def _severity(window: Window, group: Group, stall: _Stall, settings: TpStalledSettings) -> Severity | None:
    """How sure it is: `None` where it may as well be an engine that spins for want of requests."""
    past = _Past(window, group, stall)
    if past.worked and not past.has_paused_like_this:
        if _lost(window, group) or stall.absent or all(_draws_hardly_more_than_idle(one, stall) for one in stall.views):
            return "critical"
        lasting = _stall([*stall.views, *stall.absent], max(stall.seconds, settings.silent_spinning_s))
        return "warning" if past.ended_at_full_tilt and lasting is not None else None
    if past.worked or not all(_draws_hardly_more_than_idle(view, stall) for view in stall.views):
        return None
    lasting = _stall([*stall.views, *stall.absent], max(stall.seconds, settings.silent_unworked_s))
    return "warning" if lasting is not None else None


def _draws_hardly_more_than_idle(view: GpuView, stall: _Stall) -> bool:
    power_w = view.mean("power_w", stall.seconds)
    limit_w = view.gpu.power_limit_default_w or view.gpu.power_limit_w
    return power_w is not None and limit_w is not None and power_w <= _NEAR_IDLE_POWER * limit_w


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
    if limit_w is not None and power_w <= _NEAR_IDLE_POWER * limit_w:
        # Its past may be the same hang, and so is no yardstick.
        return True
    usual_w = view.baseline.power_w if view.baseline is not None else None
    return usual_w is None or power_w <= _AGAINST_USUAL * usual_w


class _Past:
    """What the same job did before it fell silent."""

    def __init__(self, window: Window, group: Group, stall: _Stall) -> None:
        view = stall.views[0]
        silent = 1.0 if stall.traffic == "memory_utilization_pct" else SILENT_BYTES_PER_S
        moved: list[float] = []
        pause, longest = 0, 0
        for amount in view.values(stall.traffic, min(_HOUR_S, _age_s(window, group, view))):
            if amount > silent:
                moved.append(amount)
                if pause > _GAP_BETWEEN_PAUSES_S and len(moved) > _WORK_SEEN_S:
                    longest = max(longest, pause)
                pause = 0
            else:
                pause += 1
        self.worked = len(moved) >= _WORK_SEEN_S
        """Whether it moved bytes at all."""
        self.has_paused_like_this = pause <= 1.5 * longest
        """Whether it has spun for about as long before, and gone on by itself."""
        # The very last second may have been cut short.
        last = moved[-1 - _JUST_BEFORE_S : -1]
        drew_w = list(view.values("power_w", pause + 1 + _JUST_BEFORE_S))[:_JUST_BEFORE_S]
        draws_w = view.mean("power_w", stall.seconds)
        self.ended_at_full_tilt = (
            self.worked
            and sum(last) / len(last) >= _FULL_TILT * lower_median(moved)
            and draws_w is not None
            and any(watts >= _FALL_OF_POWER * draws_w for watts in drew_w)
        )
        """Whether it stopped in the middle of work: bytes as ever till then, and power that fell with them."""


def _age_s(window: Window, group: Group, view: GpuView) -> float:
    started = [
        one.started_at for one in view.gpu.processes or () if one.tp_group == group.id and one.started_at is not None
    ]
    return max(1.0, window.wall - max(started)) if started else _HOUR_S


def _lost(window: Window, group: Group) -> list[GpuView]:
    return [view for view in window.gpus if view.gpu.state == "lost" and _belongs(view, group)]


def _suspicion(window: Window, group: Group, stall: _Stall, severity: Severity) -> Suspicion:
    lost = _lost(window, group)
    culprits = lost or stall.absent
    watts = lower_median([view.mean("power_w", stall.seconds) or 0.0 for view in stall.views])
    cause = _cause(window, group, lost, stall)
    who = f"GPUs {_list(stall.views)}" if len(stall.views) > 1 else stall.views[0].label
    return Suspicion(
        key=group.id,
        severity=severity,
        gpus=sorted(view.index for view in (culprits or stall.views)),
        summary=f"The group on {who} {'hangs' if severity == 'critical' else 'seems to hang'}: 100 % busy at {watts:.0f} W, and nothing has moved between its GPUs for "
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
