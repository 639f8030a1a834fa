from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.link_loss import carries, joined_by_nvlink
from gpuwatch_agent.detectors.lockstep import working
from gpuwatch_agent.detectors.pcie_speed import gb_per_s
from gpuwatch_agent.detectors.phrases import gpus_named
from gpuwatch_agent.detectors.window import GpuView, Window

_WINDOW_S = 20.0
_LEAST_BUSY_S = 5
_UNREAD_S = 5
# GeForce boards compute in P2, data centre boards in P0; deeper states are idle ones, where links slow down by design.
_BUSY_PSTATE = 2
# More siblings than this share that are no better: it is how the machine is wired.
_ODD_ONE_OUT = 1 / 3
# Board and slot together can do gen_max: two steps below it, three quarters of the link are missing whoever else is so.
_STEPS_BELOW = 2
_SLOTS = "slots"
_ALL = "loading, offloading and traffic between GPUs"
_LOADING = "loading and offloading"


class PcieDegradedSettings(DetectorSettings, frozen=True, kw_only=True):
    """A PCIe link with fewer lanes or a lower generation under load than this GPU had, or its siblings have."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 30.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 120.0
    busy_pct: Annotated[
        float, Meta(description="Above this utilisation a GPU is busy, and its link must be awake.", ge=1, le=100)
    ] = 20.0
    compare_siblings: Annotated[
        bool,
        Meta(description="Compare with GPUs of the same model; off where slots are wired unequally on purpose."),
    ] = True


class _Link(Struct, frozen=True):
    """Generation and width; `None` where it is not known."""

    gen: int | None
    width: int | None

    def __str__(self) -> str:
        lanes = f"×{self.width}" if self.width is not None else "its"
        return f"{lanes} Gen{self.gen}" if self.gen is not None else f"{lanes} lanes"


class PcieDegradedDetector:
    """Measures a link by what it was and by what its siblings have; the board's own maximum only tells of the slot."""

    kind: ClassVar[str] = "pcie_degraded"
    settings: ClassVar[type[DetectorSettings]] = PcieDegradedSettings

    def detect(self, window: Window, settings: PcieDegradedSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: list[Suspicion] = []
        slot_bound: list[tuple[GpuView, _Link]] = []
        for view in window.gpus:
            if not view.answers or _is_at_most(view):
                continue
            link = _under_load(view, settings.busy_pct) or _still_narrow(view, raised)
            if link is None:
                continue
            suspicion = _degraded(window, view, link, settings)
            if suspicion is not None:
                found.append(suspicion)
            elif _below_most(view, link):
                slot_bound.append((view, link))
        if slot_bound:
            found.append(_slot_limit(slot_bound))
        return found


def _is_at_most(view: GpuView) -> bool:
    pcie = view.gpu.pcie
    if pcie is None or (pcie.gen is None and pcie.width is None):
        return True
    full_gen = pcie.gen is None or (pcie.gen_max is not None and pcie.gen >= pcie.gen_max)
    full_width = pcie.width is None or (pcie.width_max is not None and pcie.width >= pcie.width_max)
    return full_gen and full_width


def _under_load(view: GpuView, busy_pct: float) -> _Link | None:
    """The best the link showed while the GPU was busy, where it was so for several readings."""
    load = view.values("utilization_pct", _WINDOW_S) or view.values("sm_activity_pct", _WINDOW_S)
    states = view.values("pstate", _WINDOW_S)
    read = [place for place, value in enumerate(load) if value == value]  # noqa: PLR0124  # NaN is what differs from itself
    busy = [place for place in read if load[place] >= busy_pct]
    if states:
        busy = [place for place in busy if not states[place] > _BUSY_PSTATE]
    # The newest second must be among them: what was before the load ended says nothing of now. One unread is no end.
    if len(busy) < _LEAST_BUSY_S or busy[-1] != read[-1] or len(load) - 1 - busy[-1] > _UNREAD_S:
        return None
    return _Link(_best(view.values("pcie.gen", _WINDOW_S), busy), _best(view.values("pcie.width", _WINDOW_S), busy))


def _best(values: Sequence[float], places: Sequence[int]) -> int | None:
    present = [
        value for place in places if place < len(values) and (value := values[place]) == value
    ]  # NaN is not equal to itself
    return int(max(present)) if len(present) >= _LEAST_BUSY_S else None


def _still_narrow(view: GpuView, raised: frozenset[str]) -> _Link | None:
    """Lanes do not come back for want of load, so what was said of them stays said; generations fall at idle."""
    if view.uuid not in raised:
        return None
    width = view.most("pcie.width", _WINDOW_S)
    return _Link(None, int(width)) if width is not None else None


def _degraded(window: Window, view: GpuView, link: _Link, settings: PcieDegradedSettings) -> Suspicion | None:
    siblings = window.siblings(view) if settings.compare_siblings else []
    before = _Link(_more(view.tally.best_pcie_gen, link.gen), _more(view.tally.best_pcie_width, link.width))
    others = _Link(
        _odd(link.gen, [one.tally.best_pcie_gen or (one.gpu.pcie.gen if one.gpu.pcie else None) for one in siblings]),
        _odd(link.width, [one.gpu.pcie.width if one.gpu.pcie else None for one in siblings]),
    )
    pcie = view.gpu.pcie
    could = pcie.gen_max if pcie is not None else None
    far_below = link.gen is not None and could is not None and could - link.gen >= _STEPS_BELOW
    if before != _NOTHING:
        should, cause = before, "The link has come down since gpuwatch began to watch it."
    elif others != _NOTHING:
        should, cause = others, "Its siblings of the same model have better links in this machine."
    elif far_below:
        should, cause = _Link(could, None), "Board and slot can do far more than the link has trained to."
    else:
        return None
    should = _Link(should.gen or link.gen, should.width or link.width)
    return _suspicion(view, link, should, cause, _what_it_slows(window, view))


def _what_it_slows(window: Window, view: GpuView) -> str:
    """What goes over the link: not what its ranks send each other over NVLink."""
    for group in window.groups:
        at_work = working(window, group) if group.lockstep and view.uuid in group.uuids else None
        rank = next((one for one in at_work.ranks if one.view is view), None) if at_work is not None else None
        if at_work is not None and rank is not None:
            return _LOADING if carries(at_work, rank, "pcie") is False else _ALL
    alone = len(window.gpus) == 1
    return _LOADING if alone or joined_by_nvlink([view, *window.siblings(view)]) else _ALL


_NOTHING = _Link(None, None)


def _more(before: int | None, now: int | None) -> int | None:
    return before if before is not None and now is not None and before > now else None


def _odd(mine: int | None, theirs: Sequence[int | None]) -> int | None:
    """What siblings have, where they have more and hardly any has no more than this one."""
    known = [value for value in theirs if value is not None]
    if mine is None or not known:
        return None
    better = [value for value in known if value > mine]
    return min(better) if better and 1 - len(better) / len(known) < _ODD_ONE_OUT else None


def _suspicion(view: GpuView, link: _Link, should: _Link, cause: str, slowed: str) -> Suspicion:
    now, then = gb_per_s(link.gen, link.width), gb_per_s(should.gen, should.width)
    if now is not None and then is not None:
        cost = f"{now:.0f} of {then:.0f} GB/s each way, so {slowed} take {then / now:.0f} times as long"
    elif link.width and should.width and link.width < should.width:
        cost = f"{link.width} of {should.width} lanes, and as much less bandwidth"
    else:
        cost = f"less bandwidth for {slowed}"
    pcie = view.gpu.pcie
    return Suspicion(
        key=view.uuid,
        severity="warning",
        gpus=[view.index],
        summary=f"The PCIe link of {view.label} runs at {link} instead of {should}: {cost}.",
        cause=cause,
        evidence={
            "gen": link.gen,
            "gen_expected": should.gen,
            "gen_max": pcie.gen_max if pcie else None,
            "width": link.width,
            "width_expected": should.width,
            "width_max": pcie.width_max if pcie else None,
            "gb_per_s": round(now, 1) if now is not None else None,
            "gb_per_s_expected": round(then, 1) if then is not None else None,
        },
        action="Drain it and reset it or reboot, so that the link trains anew; if that does not help, reseat board or riser, "
        "clean the contacts and compare BIOS settings of the slot.",
    )


def _below_most(view: GpuView, link: _Link) -> bool:
    pcie = view.gpu.pcie
    return pcie is not None and (
        (link.width is not None and pcie.width_max is not None and link.width < pcie.width_max)
        or (link.gen is not None and pcie.gen_max is not None and link.gen < pcie.gen_max)
    )


def _slot_limit(bound: Sequence[tuple[GpuView, _Link]]) -> Suspicion:
    """One quiet remark for the whole machine: it has always been so, and is so for all alike."""
    view, link = bound[0]
    pcie = view.gpu.pcie
    could = _Link(pcie.gen_max, pcie.width_max) if pcie is not None else _NOTHING
    indices = [one.index for one, _ in bound]
    return Suspicion(
        key=_SLOTS,
        severity="info",
        gpus=indices,
        summary=f"{gpus_named(indices)} {'run' if len(indices) > 1 else 'runs'} at PCIe {link} where the board could do "
        f"{could}: a limit of the slots, it seems.",
        cause="It has been so as long as gpuwatch watches, and no sibling has more.",
        evidence={"gen": link.gen, "gen_max": could.gen, "width": link.width, "width_max": could.width},
        action="Nothing, if the slots are wired so (see the mainboard's manual); otherwise reseat the boards.",
    )
