from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.recovery import asks_for
from gpuwatch_agent.detectors.window import GpuView, Window


class RowRemapSettings(DetectorSettings, frozen=True, kw_only=True):
    """A bad place in memory that waits for a reset to be replaced, or that could not be replaced."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 0.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 15.0


class RowRemapDetector:
    """Believes the board: what it says is written in its own record, and outlives a reboot."""

    kind: ClassVar[str] = "row_remap"
    settings: ClassVar[type[DetectorSettings]] = RowRemapSettings

    def detect(self, window: Window, settings: RowRemapSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a state has no threshold
        found = (_judge(view) for view in window.gpus if view.answers)
        return [suspicion for suspicion in found if suspicion is not None]


def _judge(view: GpuView) -> Suspicion | None:
    rows, pages = view.gpu.remapped_rows, view.gpu.retired_pages
    evidence: dict[str, float | int | str | None] = {"recovery_action": view.gpu.recovery_action}
    if rows is not None:
        evidence |= {
            "rows_after_corrected_errors": rows.corrected,
            "rows_after_uncorrected_errors": rows.uncorrected,
        }
    if rows is not None and rows.failed:
        return Suspicion(
            key=view.uuid,
            severity="critical",
            gpus=[view.index],
            summary=f"{view.label} could not replace a bad row of its memory: the board is due for exchange.",
            cause="Replacing a row has failed; further errors in this place can't be repaired.",
            evidence=evidence,
            action="Drain it, run `dcgmi diag -r 3`, and have the board exchanged (this is what the warranty asks for).",
            certain=True,
        )
    if rows is not None and rows.pending:
        return _pending(view, "row", "row is to be replaced by a spare one", evidence)
    if pages is not None and pages.pending:
        evidence |= {"pages_single_bit": pages.single_bit, "pages_double_bit": pages.double_bit}
        return _pending(view, "page", "page is to be taken out of use", evidence)
    return None


def _pending(view: GpuView, place: str, what: str, evidence: dict[str, float | int | str | None]) -> Suspicion:
    verdict = asks_for(view.gpu)
    asked = f" The driver asks to {verdict.asked}." if verdict is not None else ""
    return Suspicion(
        key=view.uuid,
        severity="warning",
        gpus=[view.index],
        summary=f"{view.label} waits for a reset: a bad memory {what}.",
        cause=f"Memory errors in one place; until the reset the bad {place} is in use or set aside.{asked}",
        evidence=evidence,
        action=f"Drain it and reset it when its jobs have ended (`sudo nvidia-smi --gpu-reset -i {view.index}`, or reboot): jobs may "
        "go on until then."
        if verdict is None
        else verdict.action,
        certain=True,
    )
