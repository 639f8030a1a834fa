"""NVLinks that are down and should not be.

What should be up is told by nothing but the past and the siblings: boards have ports that nobody wired, PCIe boards have
them without a bridge, and MIG takes them down. A monitor that called all of these faults cried wolf on 214 of 288 nodes
(NVIDIA/NVSentinel#1701).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lockstep import SILENT_BYTES_PER_S, working
from gpuwatch_agent.detectors.phrases import gpus_named, listed
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.gpu import NvLinkPort

# A group in step is stopped by a link that goes down under it; one that started without it only runs slower.
_LARGE_LOSS = 0.25


class NvlinkDownSettings(DetectorSettings, frozen=True, kw_only=True):
    """An NVLink that is down though it was up before, or is up on the GPU's siblings."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 15.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 30.0
    boot_grace_s: Annotated[
        float, Meta(description="After the machine's start nothing of this kind is said for so long.", ge=0, le=86400)
    ] = 300.0
    compare_siblings: Annotated[
        bool,
        Meta(description="Expect the links that GPUs of the same model have; off where bridges differ on purpose."),
    ] = True


class _Missing(Struct, frozen=True):
    """The links one GPU lacks."""

    view: GpuView
    links: list[int]
    up: int
    expected: int
    was_up: bool
    """Whether they were seen up before, or only those of siblings are."""


class NvlinkDownDetector:
    """One finding a GPU, or one for both ends where they name each other."""

    kind: ClassVar[str] = "nvlink_down"
    settings: ClassVar[type[DetectorSettings]] = NvlinkDownSettings

    def detect(self, window: Window, settings: NvlinkDownSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # a state has no threshold
        missing: dict[str, _Missing] = {}
        for view in window.gpus:
            one = _missing(window, view, settings)
            if one is not None:
                missing[view.uuid] = one
        found: list[Suspicion] = []
        told: set[str] = set()
        for uuid, one in missing.items():
            if uuid in told:
                continue
            other = _other_end(one, missing)
            told |= {uuid, other.view.uuid} if other is not None else {uuid}
            found.append(_suspicion(window, one, other))
        return found


def _ports(view: GpuView) -> Sequence[NvLinkPort]:
    """The ports of a GPU that may be judged: fresh, and not cut by MIG, which takes links down."""
    mig, nvlink = view.gpu.mig, view.gpu.nvlink
    if not view.answers or nvlink is None or (mig is not None and (mig.enabled or mig.pending)):
        return ()
    return nvlink.links or ()


def _missing(window: Window, view: GpuView, settings: NvlinkDownSettings) -> _Missing | None:
    ports = _ports(view)
    down = [port.index for port in ports if port.state == "down"]
    if not down:
        return None
    up = sum(port.state == "up" for port in ports)
    before = [link for link in down if link in view.tally.ports_when_up]
    links = set(before)
    if settings.compare_siblings:
        links.update(_up_on_siblings(window, view, down, up))
    if not links:
        return None
    return _Missing(view, sorted(links), up, up + len(links), bool(before))


def _up_on_siblings(window: Window, view: GpuView, down: Sequence[int], up: int) -> list[int]:
    """Links that most siblings have up. Links to switches all boards have; bridges a board may do without altogether."""
    theirs = [ports for one in window.siblings(view) if (ports := _ports(one))]
    working = [{port.index for port in ports if port.state == "up"} for ports in theirs]
    bridged = not any(port.peer_type == "switch" for ports in theirs for port in ports)
    if bridged and not up:
        return []
    return [link for link in down if sum(link in links for links in working) * 2 > len(working)]


def _address(bus_id: str | None) -> str | None:
    """A bus id without the length of its domain, which drivers print differently."""
    return bus_id.lower()[-10:] if bus_id else None


def _peers(view: GpuView) -> dict[str, int]:
    """How many links the GPU has, or had, to each other GPU, by the peer's address."""
    known: Mapping[int, NvLinkPort] = view.tally.ports_when_up
    now = {port.index: port for port in _ports(view) if port.state == "up"}
    count: dict[str, int] = {}
    for port in {**known, **now}.values():
        address = _address(port.peer) if port.peer_type == "gpu" else None
        if address is not None:
            count[address] = count.get(address, 0) + 1
    return count


def _other_end(one: _Missing, missing: Mapping[str, _Missing]) -> _Missing | None:
    """The one neighbour that lacks as many links: a direct link is down at both ends."""
    neighbours = _peers(one.view)
    lost_peers = {
        _address(port.peer) for link in one.links if (port := one.view.tally.ports_when_up.get(link)) is not None
    }
    candidates = [
        other
        for other in missing.values()
        if other is not one
        and (address := _address(other.view.gpu.pci_bus_id)) in neighbours
        and len(other.links) == len(one.links)
        and (not lost_peers or address in lost_peers)
    ]
    return candidates[0] if len(candidates) == 1 else None


def _group_over(window: Window, views: Sequence[GpuView]) -> Group | None:
    """A group in step that sends over the broken link: through a switch any of its GPU's, directly those with both ends."""
    for group in window.groups:
        if group.lockstep and all(view.uuid in group.uuids for view in views):
            return None if _goes_another_way(window, group) else group
    return None


def _goes_another_way(window: Window, group: Group) -> bool:
    """Whether it works on while its NVLinks stay silent: it has been told to talk over PCIe, and misses nothing."""
    at_work = working(window, group)
    over_nvlink = at_work.nvlink_bytes_per_s if at_work is not None else None
    return over_nvlink is not None and over_nvlink < SILENT_BYTES_PER_S


def _suspicion(window: Window, one: _Missing, other: _Missing | None) -> Suspicion:
    views = [one.view] if other is None else sorted((one.view, other.view), key=lambda view: view.index)
    indices = [view.index for view in views]
    group = _group_over(window, views)
    noun = f"NVLink{'s' if len(one.links) > 1 else ''} {listed(one.links)}"
    verb = "are" if len(one.links) > 1 else "is"
    if other is not None:
        subject = f"{'NVLinks' if len(one.links) > 1 else 'An NVLink'} between {gpus_named(indices)} {verb} down"
    else:
        subject = f"{noun} of {one.view.label} {verb} down"
    lost = len(one.links) / one.expected
    cost = (
        f"the {len(group.uuids)} GPUs of {group.id} exchange over it, with up to {100 * lost:.0f} % less bandwidth"
        if group is not None and one.up
        else f"the {len(group.uuids)} GPUs of {group.id} must go another, slower way"
        if group is not None
        else f"{100 * lost:.0f} % of its NVLink bandwidth is gone"
    )
    peers = _peer_names(window, one)
    return Suspicion(
        key="/".join(sorted(view.uuid for view in views)),
        severity="critical" if group is not None and (one.was_up or lost >= _LARGE_LOSS) else "warning",
        gpus=indices,
        summary=f"{subject} ({one.up} of {one.expected} up): {cost}.",
        cause=(
            "It was up since gpuwatch began to watch, and went down."
            if one.was_up
            else "It is up on siblings of the same model, and has not been up here since gpuwatch began to watch."
        )
        + (f" The other end is {peers}." if peers else ""),
        evidence={
            "links": listed(one.links),
            "up": one.up,
            "expected": one.expected,
            "peers": peers or None,
            "group": group.id if group is not None else None,
        },
        action="Look for Xids 74, 136 or 144 to 150 in `dmesg`; drain the GPUs on this link and reset them together (with "
        "NVSwitch all of them, and restart the fabric manager); reseat the bridge or exchange the board if it stays down.",
    )


def _peer_names(window: Window, one: _Missing) -> str:
    """The other ends of the missing links, by GPU where it is one of ours, as far as anybody has seen them."""
    by_address = {_address(view.gpu.pci_bus_id): view.label for view in window.gpus}
    names: list[str] = []
    for link in one.links:
        port = one.view.tally.ports_when_up.get(link) or _same_port_on_a_sibling(window, one.view, link)
        if port is not None and port.peer is not None:
            name = by_address.get(_address(port.peer)) or f"{port.peer_type or 'device'} {port.peer}"
            if name not in names:
                names.append(name)
    return ", ".join(names)


def _same_port_on_a_sibling(window: Window, view: GpuView, link: int) -> NvLinkPort | None:
    """Boards of one machine have the same port at the same switch; between GPUs each has a peer of its own."""
    for sibling in window.siblings(view):
        for port in _ports(sibling):
            if port.index == link and port.state == "up" and port.peer_type == "switch":
                return port
    return None
