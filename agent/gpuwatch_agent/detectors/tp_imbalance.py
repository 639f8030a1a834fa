from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.blame import Blame, blame
from gpuwatch_agent.detectors.lateness import Lateness
from gpuwatch_agent.detectors.lockstep import Rank, Working
from gpuwatch_agent.detectors.why_late import Cause
from gpuwatch_agent.detectors.window import Window
from gpuwatch_agent.model.finding import Severity

_STAYS = 0.75
_SIGNS = {
    "activity": "it computes while they wait",
    "power": "it draws the power of work while they wait",
    "fallen": "its power fell unlike theirs while the group slowed down",
    "clock": "its clock is lower than theirs",
    "utilization": "it runs out of work while they spin",
    "link": "its link is slower than theirs",
}


class TpImbalanceSettings(DetectorSettings, frozen=True, kw_only=True):
    """A rank that holds back a group working in step: which, why, and what it costs."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 15.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 45.0
    info_loss_pct: Annotated[
        float, Meta(description="From this loss of pace on it is told, as information.", ge=1, le=100)
    ] = 6.0
    warning_loss_pct: Annotated[float, Meta(description="From this loss of pace on it is a warning.", ge=1, le=100)] = (
        10.0
    )
    critical_loss_pct: Annotated[float, Meta(description="From this loss of pace on it is critical.", ge=1, le=100)] = (
        25.0
    )

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (
        ("info_loss_pct", "warning_loss_pct"),
        ("warning_loss_pct", "critical_loss_pct"),
    )

    def least_watch_s(self) -> float:
        # Rates, and with them the first full window of `lockstep`, come some readings late.
        return 25.0


class TpImbalanceDetector:
    """One finding for each group; waiting ranks spin at full utilisation, so the late one is who waits least."""

    kind: ClassVar[str] = "tp_imbalance"
    settings: ClassVar[type[DetectorSettings]] = TpImbalanceSettings

    def detect(self, window: Window, settings: TpImbalanceSettings, raised: frozenset[str]) -> list[Suspicion]:
        found = []
        for group in window.groups:
            named = window.named.get((self.kind, group.id), frozenset()) if group.id in raised else frozenset()
            blamed = blame(window, group, settings.info_loss_pct, named=named)
            if blamed is not None:
                found.append(_suspicion(window, blamed, settings))
        return found


def _suspicion(window: Window, blamed: Blame, settings: TpImbalanceSettings) -> Suspicion:
    group, late, cause = blamed.group, blamed.late, blamed.cause
    worst = late[0]
    pace = max(0.0, 1.0 - worst.loss)
    return Suspicion(
        key=group.group.id,
        severity=_severity(
            100.0 * worst.loss, cause, settings, window.said.get((TpImbalanceDetector.kind, group.group.id))
        ),
        gpus=sorted(one.rank.view.index for one in late),
        summary=_sentence(group, late, cause, pace),
        cause=cause.sentence if cause is not None else None,
        evidence=_evidence(group, late, cause, pace),
        action=cause.action if cause is not None else _look_closer(worst),
    )


def _severity(loss_pct: float, cause: Cause | None, settings: TpImbalanceSettings, before: Severity | None) -> Severity:
    """What was said once is taken back only when the loss is well below the threshold: else it would flutter."""
    if cause is not None and cause.name == "slower_board":
        # How the machine was built is nothing that broke.
        return "info"
    if loss_pct >= settings.critical_loss_pct * (_STAYS if before == "critical" else 1.0):
        return "critical"
    lasting = before in {"critical", "warning"}
    return "warning" if loss_pct >= settings.warning_loss_pct * (_STAYS if lasting else 1.0) else "info"


def _sentence(group: Working, late: list[Lateness], cause: Cause | None, pace: float) -> str:
    names = sorted(one.rank.view.index for one in late)
    who = f"GPU {names[0]} holds" if len(names) == 1 else f"GPUs {', '.join(map(str, names))} hold"
    others = len(group.ranks) - len(late)
    rest = "the other GPU" if others == 1 else f"the other {others}"
    why = cause.short if cause is not None else f"{_SIGNS[late[0].sign]}, cause unknown"
    whose = f"GPU {late[0].rank.view.index} is worst: " if len(late) > 1 else ""
    return f"{who} {rest} back: {whose}{why}. The group runs at about {100 * pace:.0f} % of its pace."


def _look_closer(worst: Lateness) -> str:
    label = worst.rank.view.label
    return (
        f"Compare {label} with its siblings: `nvidia-smi -q -i {worst.rank.view.index}`, its processes, its NUMA node and "
        "what only this rank does; when the job may stop, time the same kernel and an all-reduce on each GPU alone."
    )


def _evidence(
    group: Working, late: list[Lateness], cause: Cause | None, pace: float
) -> dict[str, float | int | str | None]:
    worst = late[0].rank
    waiting = [rank for rank in group.ranks if all(rank is not one.rank for one in late)]
    return {
        "group": group.group.id,
        "ranks": len(group.ranks),
        "late_rank": _rank_of(group, worst.view.uuid),
        "pace_estimated": round(pace, 2),
        "estimated_from": late[0].estimated_from,
        "told_by": late[0].sign,
        "cause_kind": cause.name if cause is not None else "unknown",
        "seconds_at_work": group.seconds,
        "power_w": round(worst.power_w),
        "siblings_power_w": round(_mean([rank.power_w for rank in waiting])),
        "utilization_pct": round(worst.utilization_pct),
        "sm_clock_mhz": round(worst.sm_clock_mhz) if worst.sm_clock_mhz is not None else None,
        "siblings_sm_clock_mhz": _mean_clock(waiting),
        "bytes_against_usual": round(group.bytes_ratio, 2) if group.bytes_ratio is not None else None,
        **(cause.evidence if cause is not None else {}),
    }


def _rank_of(group: Working, uuid: str) -> int | None:
    return group.group.ranks[group.group.uuids.index(uuid)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _mean_clock(ranks: list[Rank]) -> float | None:
    clocks = [rank.sm_clock_mhz for rank in ranks if rank.sm_clock_mhz is not None]
    return round(_mean(clocks)) if clocks else None
