"""What a group loses to a link that is slower than its siblings'.

Never more than the share of the bandwidth that is gone, and nothing where the link does not carry the group's traffic:
bytes per second follow demand as well, so alone they would blame a link for every lull.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.detectors.lockstep import SILENT_BYTES_PER_S, WINDOW_S, Rank, Working, lower_median
from gpuwatch_agent.detectors.window import GpuView
from gpuwatch_agent.model.gpu import Gpu, NvLinkPort

Fabric = Literal["pcie", "nvlink"]

# What NCCL gets of a link's raw rate, and what small messages get of it.
_LINK_EFFICIENCY = 0.8
_LEAST_EFFICIENCY = 0.05
_CLEARLY_SLOWER = 0.95
_PCIE_LANE_BYTES_PER_S = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.97e9, 5: 3.94e9, 6: 7.56e9}
_NVLINK_BYTES_PER_S = {"1": 20e9, "5": 50e9}
# The part of a healthy step that goes over PCIe where nobody counts bytes: the low end of what is measured.
_EXCHANGING = 0.12
_BY_WIDTH = "the link's rate against its siblings'; nobody counts its bytes, so this is a guess at the low end"
# Where nobody counts bytes, work must have fallen by more than demand may do in a moment.
_WORK_FELL = 0.09
_HOUR_S = 3600.0
_AT_WORK_PCT = 20.0
_SWITCH = "switch"


class LinkLoss(Struct, frozen=True, kw_only=True):
    """The share of its pace that the group loses to one rank's link."""

    loss: float = 0.0
    estimated_from: str = ""
    fabric: Fabric | None = None


_NOTHING = LinkLoss()


def link_losses(group: Working) -> list[LinkLoss]:
    """For every rank in the group's order; nothing for links as good as their siblings'."""
    busy = [rank.view.gpu.utilization_pct for rank in group.ranks]
    if any(percent is not None and percent < _AT_WORK_PCT for percent in busy):
        # An idle link trains down by design.
        return [_NOTHING] * len(group.ranks)
    over_pcie, over_nvlink = _losses(group, "pcie"), _losses(group, "nvlink")
    return [max(one, other, key=lambda lost: lost.loss) for one, other in zip(over_pcie, over_nvlink, strict=True)]


def lost_bandwidth(group: Working, rank: Rank, fabric: Fabric) -> float:
    """The share of its siblings' bandwidth that a rank's link lacks: the most that can be lost to it; 0 where unknown."""
    now = _rate(rank.view, fabric)
    others = [rate for one in group.ranks if one is not rank and (rate := _rate(one.view, fabric))]
    if not now or not others:
        return 0.0
    ratio = now / lower_median(others)
    return 1.0 - ratio if ratio < _CLEARLY_SLOWER else 0.0


def carries(group: Working, rank: Rank, fabric: Fabric) -> bool | None:
    """Whether the group talks over this link of a rank, by wiring and counted bytes; `None` where neither tells."""
    counted = _counted(rank.view, fabric)
    if counted is not None and counted < SILENT_BYTES_PER_S:
        return False
    if fabric == "nvlink":
        return True
    joined = joined_by_nvlink([one.view for one in group.ranks])
    if joined is False:
        return True
    over_nvlink = group.nvlink_bytes_per_s
    if counted is not None and over_nvlink is not None:
        # NVLinks that join all may be left aside (NCCL_P2P_DISABLE): then most bytes go the other way.
        return counted > over_nvlink
    return False if joined else None


def joined_by_nvlink(views: Sequence[GpuView]) -> bool | None:
    """Whether NVLinks that are up lead from each of them to all others; `None` where their other ends are not known."""
    ends: list[set[str]] = []
    for view in views:
        nvlink = view.gpu.nvlink
        if nvlink is None or nvlink.active == 0:
            return False
        up = [port for port in nvlink.links or () if port.state == "up"]
        if not up or view.gpu.pci_bus_id is None:
            return None
        ends.append({_address(view.gpu.pci_bus_id), *(_end(port) for port in up)})
    reached = ends.pop(0)
    while near := [one for one in ends if one & reached]:
        reached = reached.union(*near)
        ends = [one for one in ends if one not in near]
    return not ends


def _end(port: NvLinkPort) -> str:
    return _address(port.peer or "") if port.peer_type == "gpu" else _SWITCH


def _address(bus_id: str) -> str:
    """Without the length of the domain, which drivers print differently."""
    return bus_id.lower()[-10:]


def _counted(view: GpuView, fabric: Fabric) -> float | None:
    """Bytes a second that the link moves either way, where they are counted."""
    rates = [view.mean(f"{fabric}.{way}_bytes_per_s", WINDOW_S) for way in ("tx", "rx")]
    return max((rate for rate in rates if rate is not None), default=None)


def _losses(group: Working, fabric: Fabric) -> list[LinkLoss]:
    """Only a link that is slower than its siblings' is judged: what all have is how the machine is built."""
    rates = [_rate(rank.view, fabric) for rank in group.ranks]
    now = [rate for rate in rates if rate]
    if len(now) < len(rates) or max(now) <= 1.05 * min(now):
        return [_NOTHING] * len(rates)
    found = []
    for rank, rate in zip(group.ranks, now, strict=True):
        lost = lost_bandwidth(group, rank, fabric)
        # Of direct links both ends are down: the GPU that has lost most is named.
        judged = lost > 0.0 and rate <= 1.05 * min(now) and carries(group, rank, fabric) is not False
        found.append(_loss(group, rank, fabric, lost) if judged else _NOTHING)
    return found


def _loss(group: Working, rank: Rank, fabric: Fabric, lost: float) -> LinkLoss:
    bytes_per_s = group.nvlink_bytes_per_s if fabric == "nvlink" else group.pcie_bytes_per_s
    rate = _rate(rank.view, fabric)
    if bytes_per_s is None or not rate:
        return _uncounted(group, rank, fabric, lost)
    if group.bytes_ratio is not None and _has_changed(rank.view, fabric):
        # The link can't be in the way for longer than its bytes take it, sent as badly as they may be.
        most = lost * min(1.0, bytes_per_s / (_LEAST_EFFICIENCY * rate))
        loss, source = max(0.0, 1.0 - group.bytes_ratio), "bytes per second against the last hour's"
        if loss > most:
            loss, source = most, f"{source}, and no more than the bandwidth that is gone"
        return LinkLoss(loss=loss, estimated_from=source, fabric=fabric)
    carrying = min(1.0, bytes_per_s / (_LINK_EFFICIENCY * rate))
    return LinkLoss(
        loss=carrying * lost, estimated_from="the time that the link needs for the bytes it carries", fabric=fabric
    )


def _uncounted(group: Working, rank: Rank, fabric: Fabric, lost: float) -> LinkLoss:
    """Where nobody counts bytes: a guess for boards that have but this fabric, more where a link came down and work with it."""
    usual = [one.usual_work for one in group.ranks if one.usual_work is not None]
    least = _EXCHANGING * lost / (_EXCHANGING + (1.0 - _EXCHANGING) * (1.0 - lost))
    guess = least if fabric == "pcie" and carries(group, rank, fabric) else 0.0
    if len(usual) == len(group.ranks) and _has_changed(rank.view, fabric):
        fell = min(lost, 1.0 - lower_median(usual))
        if fell > max(guess, _WORK_FELL):
            source = "the work of all ranks against their own past, since the link came down"
            return LinkLoss(loss=fell, estimated_from=source, fabric=fabric)
    return LinkLoss(loss=guess, estimated_from=_BY_WIDTH, fabric=fabric) if guess else _NOTHING


def _has_changed(view: GpuView, fabric: Fabric) -> bool:
    """Whether the link was better within the hour."""
    gpu = view.gpu
    if fabric == "nvlink":
        most = view.most("nvlink.active", _HOUR_S)
        return bool(most and gpu.nvlink is not None and gpu.nvlink.active and most > gpu.nvlink.active)
    gen, width = view.most("pcie.gen", _HOUR_S), view.most("pcie.width", _HOUR_S)
    now = pcie_rate(gpu)
    return bool(now and gen and width and _PCIE_LANE_BYTES_PER_S.get(int(gen), 0.0) * width > 1.05 * now)


def _rate(view: GpuView, fabric: Fabric) -> float | None:
    return _nvlink_rate(view) if fabric == "nvlink" else pcie_rate(view.gpu)


def pcie_rate(gpu: Gpu) -> float | None:
    """What the PCIe link can carry as it is trained now."""
    pcie = gpu.pcie
    if pcie is None or pcie.gen is None or pcie.width is None:
        return None
    return _PCIE_LANE_BYTES_PER_S.get(pcie.gen, 0.0) * pcie.width


def _nvlink_rate(view: GpuView) -> float | None:
    """What the NVLinks that are up can carry together; a board that never had one up has no bridge, which is no fault."""
    nvlink = view.gpu.nvlink
    if nvlink is None or nvlink.active is None or not nvlink.total:
        return None
    if not nvlink.active and not view.most("nvlink.active", _HOUR_S):
        return None
    version = next((port.version for port in nvlink.links or () if port.version), None)
    # One link of none left still tells apart; a rate of zero would hide the worst case.
    return max(0.1, nvlink.active) * _NVLINK_BYTES_PER_S.get((version or "")[:1], 25e9)
