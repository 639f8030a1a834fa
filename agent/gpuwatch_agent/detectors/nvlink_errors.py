from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.phrases import counted, listed
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.gpu import NvLinkPort

_MINUTE_S = 60.0
_CRC = ("crc_flit", "crc_data", "receive_errors")
_NVLINK_XIDS = (74, *range(144, 151))
_KEEPS_ABOVE = 0.5


class NvlinkErrorsSettings(DetectorSettings, frozen=True, kw_only=True):
    """An NVLink that corrupts packets, sends them again, or has to be trained anew."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 10.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    boot_grace_s: Annotated[
        float, Meta(description="After the machine's start nothing of this kind is said for so long.", ge=0, le=86400)
    ] = 300.0
    replays_per_min: Annotated[
        int, Meta(description="More replays a minute on one link than this are a warning.", ge=0, le=10_000_000)
    ] = 10
    crc_per_min: Annotated[
        int,
        Meta(description="More check sum errors a minute on one link than this are a warning.", ge=0, le=10_000_000),
    ] = 60
    crc_critical_per_min: Annotated[
        int,
        Meta(description="More check sum errors a minute on one link than this are critical.", ge=1, le=100_000_000),
    ] = 6000
    recoveries_per_10_min: Annotated[
        int, Meta(description="More recoveries of one link in ten minutes than this are a warning.", ge=0, le=1_000_000)
    ] = 1

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("crc_per_min", "crc_critical_per_min"),)


class _Noise(Struct, frozen=True):
    """What one link counted."""

    port: NvLinkPort
    replays: int
    crc: int
    recoveries: int
    failed_recoveries: int
    severity: Severity

    @property
    def weight(self) -> int:
        return self.failed_recoveries * 10_000 + self.recoveries * 100 + self.replays + self.crc


class NvlinkErrorsDetector:
    """Judges the growth of each link's counters; their totals may be what installation and boot have left."""

    kind: ClassVar[str] = "nvlink_errors"
    settings: ClassVar[type[DetectorSettings]] = NvlinkErrorsSettings

    def detect(self, window: Window, settings: NvlinkErrorsSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        for view in window.gpus:
            if not view.tally.links_with_errors:
                continue
            ports = view.gpu.nvlink.links if view.answers and view.gpu.nvlink is not None else None
            share = _KEEPS_ABOVE if view.uuid in raised else 1.0
            noisy = [noise for port in ports or () if (noise := _noise(view, port, settings, share)) is not None]
            if noisy:
                found.append(_suspicion(view, noisy))
        return found


def _noise(view: GpuView, port: NvLinkPort, settings: NvlinkErrorsSettings, share: float) -> _Noise | None:
    tally, name = view.tally, f"nvlink.{port.index}"
    if port.index not in tally.links_with_errors:
        return None
    replay_steps = tally.steps(f"{name}.replay", _MINUTE_S)
    crc_steps = max((tally.steps(f"{name}.{kind}", _MINUTE_S) for kind in _CRC), key=len)
    recoveries = tally.growth(f"{name}.recovery", 10 * _MINUTE_S)
    failed = tally.growth(f"{name}.recovery_failed", 10 * _MINUTE_S)
    if not replay_steps and not crc_steps and not recoveries and not failed:
        return None
    # Errors in one reading alone may be those of a single moment, as when a peer was reset.
    replays = sum(step.by for step in replay_steps) if len(replay_steps) > 1 else 0
    crc = sum(tally.growth(f"{name}.{kind}", _MINUTE_S) for kind in _CRC) if len(crc_steps) > 1 else 0
    severity: Severity
    if failed or crc > settings.crc_critical_per_min * share:
        severity = "critical"
    elif (
        replays > settings.replays_per_min * share
        or crc > settings.crc_per_min * share
        or recoveries > settings.recoveries_per_10_min * share
    ):
        severity = "warning"
    else:
        return None
    return _Noise(port, replays, crc, recoveries, failed, severity)


def _suspicion(view: GpuView, noisy: list[_Noise]) -> Suspicion:
    worst = max(noisy, key=lambda noise: noise.weight)
    links = [noise.port.index for noise in noisy]
    counts = [
        counted(worst.replays, "replay") if worst.replays else "",
        counted(worst.crc, "check sum error") if worst.crc else "",
    ]
    said = " and ".join(count for count in counts if count)
    said = f"{said} within a minute" if said else ""
    if worst.recoveries:
        trained = f"trained anew {counted(worst.recoveries, 'time')} in ten minutes"
        said = f"{said}, {trained}" if said else trained
    if worst.failed_recoveries:
        failed = f"{counted(worst.failed_recoveries, 'time')} in vain"
        said = f"{said}, {failed}" if said else f"trained anew {failed}"
    xids = [xid.code for xid in view.gpu.xids or () if xid.code in _NVLINK_XIDS]
    peer = worst.port.peer or "an unnamed peer"
    where = f"{'Link' if len(links) == 1 else 'The worst is link'} {worst.port.index}, to {peer}"
    return Suspicion(
        key=view.uuid,
        severity="critical" if any(noise.severity == "critical" for noise in noisy) else "warning",
        gpus=[view.index],
        summary=f"NVLink{'s' if len(links) > 1 else ''} {listed(links)} of {view.label} "
        f"{'are' if len(links) > 1 else 'is'} noisy: {said}. Whatever crosses {'them' if len(links) > 1 else 'it'} waits.",
        cause=f"{where}, corrupts packets"
        + (f"; Xid {', '.join(map(str, xids))} was reported as well." if xids else "."),
        evidence={
            "links": listed(links),
            "worst_link": worst.port.index,
            "peer": worst.port.peer,
            "peer_type": worst.port.peer_type,
            "replays_per_min": worst.replays,
            "crc_per_min": worst.crc,
            "recoveries_per_10_min": worst.recoveries,
            "failed_recoveries": worst.failed_recoveries,
        },
        action="See `nvidia-smi nvlink -e` on both ends; drain the GPUs on this link and reset them, then reseat the bridge or "
        "have baseboard, cable or board looked at if it goes on.",
    )
