from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.phrases import counted, gpus_named, listed
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
        places = {_address(view.gpu.pci_bus_id): view for view in window.gpus if view.gpu.pci_bus_id is not None}
        noisy: dict[str, list[_End]] = {}
        for view in window.gpus:
            if not view.tally.links_with_errors:
                continue
            ports = view.gpu.nvlink.links if view.answers and view.gpu.nvlink is not None else None
            for key, ours in _by_bridge(view, ports or (), places).items():
                share = _KEEPS_ABOVE if key in raised else 1.0
                noises = [noise for port in ours if (noise := _noise(view, port, settings, share)) is not None]
                if noises:
                    noisy.setdefault(key, []).append(_End(view, noises))
        return [_suspicion(key, ends, places) for key, ends in noisy.items()]


class _End(Struct, frozen=True):
    """A GPU with noisy links."""

    view: GpuView
    noises: list[_Noise]


def _address(bus_id: str) -> str:
    """A bus id without the length of its domain, which drivers print differently."""
    return bus_id.lower()[-10:]


def _by_bridge(
    view: GpuView, ports: Sequence[NvLinkPort], places: Mapping[str, GpuView]
) -> dict[str, list[NvLinkPort]]:
    """The ports by what there is to exchange: a bridge has two ends and counts at both, a switch is this board's matter."""
    found: dict[str, list[NvLinkPort]] = {}
    for port in ports:
        # A port that is down forgets its peer.
        known = port if port.peer is not None else view.tally.ports_when_up.get(port.index, port)
        other = places.get(_address(known.peer)) if known.peer_type == "gpu" and known.peer is not None else None
        key = view.uuid if other is None else "/".join(sorted((view.uuid, other.uuid)))
        found.setdefault(key, []).append(port)
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


def _suspicion(key: str, ends: list[_End], places: Mapping[str, GpuView]) -> Suspicion:
    """`ends` is one GPU, or both that a bridge joins; the worse end gives the numbers."""
    end = max(ends, key=lambda one: max(noise.weight for noise in one.noises))
    view, noisy = end.view, end.noises
    worst = max(noisy, key=lambda noise: noise.weight)
    indices = sorted(one.view.index for one in ends)
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
    xids = sorted({xid.code for one in ends for xid in one.view.gpu.xids or () if xid.code in _NVLINK_XIDS})
    other = places.get(_address(worst.port.peer)) if worst.port.peer is not None else None
    peer = other.label if other is not None else worst.port.peer or "an unnamed peer"
    both = f", at both ends ({gpus_named(indices)})" if len(ends) > 1 else ""
    where = f"{'Link' if len(links) == 1 else 'The worst is link'} {worst.port.index}, to {peer}"
    return Suspicion(
        key=key,
        severity="critical" if any(noise.severity == "critical" for one in ends for noise in one.noises) else "warning",
        gpus=indices,
        summary=f"NVLink{'s' if len(links) > 1 else ''} {listed(links)} of {view.label} "
        f"{'are' if len(links) > 1 else 'is'} noisy: {said}. Whatever crosses {'them' if len(links) > 1 else 'it'} waits.",
        cause=f"{where}, corrupts packets{both}"
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
