from math import ceil
from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.pcie_speed import replays_per_min
from gpuwatch_agent.detectors.phrases import counted
from gpuwatch_agent.detectors.tallies import HORIZON_S
from gpuwatch_agent.detectors.window import GpuView, Window

_MINUTE_S = 60.0
# Where generation or width are not told: what the slowest of today's links may lose.
_UNKNOWN_LINK_PER_MIN = 8.0
_KEEPS_ABOVE = 0.5


class PcieErrorsSettings(DetectorSettings, frozen=True, kw_only=True):
    """Packets sent again over PCIe more often than a sound link may, or errors that could not be mended."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 10.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    tolerance: Annotated[
        float,
        Meta(
            description="Replays a minute that are tolerated, as a multiple of what the specification's bit error rate allows "
            "(31 at ×16 Gen5).",
            ge=1,
            le=1000,
        ),
    ] = 1.0
    hold_s: Annotated[
        float,
        Meta(
            description="For how long errors that could not be mended are told after the last one.", ge=10, le=HORIZON_S
        ),
    ] = 600.0


class PcieErrorsDetector:
    """Judges the last minute: healthy boards have replays by the hundred in their lifetime's total."""

    kind: ClassVar[str] = "pcie_errors"
    settings: ClassVar[type[DetectorSettings]] = PcieErrorsSettings

    def detect(self, window: Window, settings: PcieErrorsSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            if not view.answers:
                continue
            noisy = _replays(view, settings, f"{view.uuid}/replays" in raised)
            found += [noisy] if noisy is not None else []
            broken = _unmended(view, settings)
            found += [broken] if broken is not None else []
        return found


def _allowed_per_min(view: GpuView) -> float:
    """By the best the link has been: at idle it is slower, but the errors of a busy moment are still in the window."""
    pcie = view.gpu.pcie
    gen = max(view.tally.best_pcie_gen or 0, (pcie.gen or 0) if pcie else 0)
    width = max(view.tally.best_pcie_width or 0, (pcie.width or 0) if pcie else 0)
    return replays_per_min(gen or None, width or None) or _UNKNOWN_LINK_PER_MIN


def _replays(view: GpuView, settings: PcieErrorsSettings, is_raised: bool) -> Suspicion | None:
    steps = view.tally.steps("pcie.replays", _MINUTE_S)
    if len(steps) < 2:
        return None  # a burst as the link trained, or the errors of long ago in one reading
    replays = sum(step.by for step in steps)
    limit = ceil(_allowed_per_min(view) * settings.tolerance)
    if replays <= (limit * _KEEPS_ABOVE if is_raised else limit):
        return None
    bad_packets = view.tally.growth("pcie.errors.bad_tlp", _MINUTE_S) + view.tally.growth("pcie.errors.lcrc", _MINUTE_S)
    return Suspicion(
        key=f"{view.uuid}/replays",
        severity="warning",
        gpus=[view.index],
        summary=f"The PCIe link of {view.label} sent {counted(replays, 'packet')} again within a minute (a sound link: at most "
        f"{limit}): it is slower, and near to failing.",
        cause="Bits are corrupted on the way: a contact, a riser, a cable or the board."
        + (" The board itself counts packets with wrong check sums." if bad_packets else ""),
        evidence={
            "replays_per_min": replays,
            "limit_per_min": limit,
            "naks_received_per_min": view.tally.growth("pcie.errors.naks_received", _MINUTE_S),
            "bad_packets_per_min": bad_packets,
        },
        action="Look for AER messages in `dmesg`; drain the node, reseat board, riser or cable, and clean the contacts.",
    )


def _unmended(view: GpuView, settings: PcieErrorsSettings) -> Suspicion | None:
    fatal = view.tally.growth("pcie.errors.fatal", settings.hold_s)
    other = view.tally.growth("pcie.errors.non_fatal", settings.hold_s)
    if not fatal and not other:
        return None
    told = (
        counted(fatal, "fatal PCIe error") if fatal else counted(other, "PCIe error") + " that could not be corrected"
    )
    return Suspicion(
        key=f"{view.uuid}/uncorrected",
        severity="critical" if fatal else "warning",
        gpus=[view.index],
        summary=f"{view.label} counted {told} within {settings.hold_s / 60:.0f} min: "
        + (
            "its link may go at any time, and with it the job."
            if fatal
            else "data on its way was lost and asked for again."
        ),
        cause="The link could not mend what it received.",
        evidence={"fatal": fatal, "non_fatal": other, "within_s": settings.hold_s},
        action="Look for AER messages and Xid 79 in `dmesg`; drain the node, reseat or exchange board, riser or cable.",
        certain=fatal > 0,
    )
