from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.phrases import counted
from gpuwatch_agent.detectors.recovery import asks_for
from gpuwatch_agent.detectors.tallies import HORIZON_S
from gpuwatch_agent.detectors.window import GpuView, Window

_MINUTE_S = 60.0


class EccUncorrectedSettings(DetectorSettings, frozen=True, kw_only=True):
    """Memory errors that could not be corrected, or a storm of corrected ones."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 10.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    hold_s: Annotated[
        float, Meta(description="For how long uncorrected errors are told after the last one.", ge=10, le=HORIZON_S)
    ] = HORIZON_S
    storm_per_min: Annotated[
        int, Meta(description="More corrected errors a minute than this are a storm.", ge=1, le=100_000_000)
    ] = 100


class EccUncorrectedDetector:
    """Judges what has come since the agent watches; totals of the past are no news."""

    kind: ClassVar[str] = "ecc_uncorrected"
    settings: ClassVar[type[DetectorSettings]] = EccUncorrectedSettings

    def detect(self, window: Window, settings: EccUncorrectedSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            if not view.answers or view.gpu.ecc is None:
                continue
            errors = max(
                view.tally.growth("ecc.uncorrected_volatile", settings.hold_s),
                view.tally.growth("ecc.uncorrected", settings.hold_s),
            )
            if errors:
                found.append(_uncorrected(view, errors, settings.hold_s))
            elif view.gpu.ecc.uncorrected_volatile:
                found.append(_not_reset_since(view, view.gpu.ecc.uncorrected_volatile))
            storm = _storm(view, settings.storm_per_min, f"{view.uuid}/corrected" in raised)
            if storm is not None:
                found.append(storm)
        return found


def _uncorrected(view: GpuView, errors: int, within_s: float) -> Suspicion:
    ecc, verdict = view.gpu.ecc, asks_for(view.gpu)
    asked = f" The driver asks to {verdict.asked}." if verdict is not None else ""
    last = min(
        (
            ago
            for name in ("ecc.uncorrected_volatile", "ecc.uncorrected")
            if (ago := view.tally.grew_s_ago(name)) is not None
        ),
        default=None,
    )
    return Suspicion(
        key=view.uuid,
        severity="critical",
        gpus=[view.index],
        summary=f"{view.label} has had {counted(errors, 'memory error')} that could not be corrected: what was computed "
        "with them is lost.",
        cause=f"Bits flipped in its memory.{asked}",
        evidence={
            "errors": errors,
            "within_s": within_s,
            "last_seen_s_ago": round(last, 1) if last is not None else None,
            "uncorrected_since_reset": ecc.uncorrected_volatile if ecc is not None else None,
            "uncorrected_ever": ecc.uncorrected if ecc is not None else None,
            "recovery_action": view.gpu.recovery_action,
        },
        action=verdict.action
        if verdict is not None
        else "Take the job's results since then as doubtful, drain the GPU and reset it, so that the bad row is replaced; "
        "exchange the board if errors come back.",
        certain=True,
    )


def _not_reset_since(view: GpuView, errors: int) -> Suspicion:
    """These counters begin anew with each reset: a count here means that the repair has not been completed."""
    return Suspicion(
        key=f"{view.uuid}/before",
        severity="warning",
        gpus=[view.index],
        summary=f"{view.label} has had {counted(errors, 'memory error')} that could not be corrected since its last reset: "
        "they came before gpuwatch looked.",
        cause="The count begins anew with each reset, and the bad place in its memory is replaced only by one.",
        evidence={
            "uncorrected_since_reset": errors,
            "uncorrected_ever": view.gpu.ecc.uncorrected if view.gpu.ecc else None,
        },
        action="Reset it when it is next free; look in `dmesg` for Xids 48, 63, 94 or 95 to learn when it was.",
    )


def _storm(view: GpuView, limit: int, is_raised: bool) -> Suspicion | None:
    """Corrected errors do no harm one by one; a storm slows the GPU and announces worse."""
    steps = max(
        view.tally.steps("ecc.corrected_volatile", _MINUTE_S), view.tally.steps("ecc.corrected", _MINUTE_S), key=len
    )
    errors = sum(step.by for step in steps)
    # One reading may hold the errors of long before it; a storm shows in several.
    if len(steps) < 2 or errors <= (limit / 2 if is_raised else limit):
        return None
    return Suspicion(
        key=f"{view.uuid}/corrected",
        severity="warning",
        gpus=[view.index],
        summary=f"{view.label} corrected {errors:,} memory errors within a minute (limit {limit:,}): it slows down, and "
        "errors that can't be corrected may follow.",
        cause="Bits flip in its memory again and again; so far all of them were mended.",
        evidence={"corrected_per_min": errors, "limit_per_min": limit},
        action="Move its job when you can and reset it, so that the bad row is replaced; exchange the board if the storm "
        "comes back.",
    )
