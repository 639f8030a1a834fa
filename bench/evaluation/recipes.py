"""Faults for simulated machines, each with what must be found because of it."""

import random
from collections.abc import Callable

from msgspec import Struct

from evaluation.labels import NO_CAUSE
from evaluation.machines import Rack
from evaluation.observed import POWER_WORDS, THERMAL_WORDS
from gpuwatch_agent.hardware.simulated.boards import GIB
from gpuwatch_agent.hardware.simulated.spec import Overlay
from gpuwatch_agent.model.finding import Severity


class Due(Struct, frozen=True, kw_only=True):
    """A kind of finding that a fault calls for, whatever the machine does."""

    kind: str
    required: bool = True
    least: Severity = "warning"
    whole_group: bool = False
    """Whether the group's GPUs are the culprits, and not the faulty one alone."""
    anywhere: bool = False
    """For what may be said of any GPU."""
    after_s: float = 0.0
    """By its definition it is there so much later."""
    causes: tuple[str, ...] = ()


class Recipe(Struct, frozen=True, kw_only=True):
    """One fault laid over one machine."""

    name: str
    gpu: int
    overlays: tuple[Overlay, ...]
    dues: tuple[Due, ...] = ()
    imbalance_causes: tuple[str, ...] | None = None
    """Words that name the cause, where the fault may slow a group; `None` where it can't."""
    capped: bool = False
    start_s: float | None = None
    ends_s: float | None = None


class Case(Struct, frozen=True):
    """Where a fault is to be laid."""

    chance: random.Random
    rack: Rack
    gpu: int


Dish = tuple[tuple[float, ...], tuple[Due, ...], tuple[str, ...] | None]
"""Strengths of the overlays, what is due, and words for the imbalance; `None` where none can come of it."""


def _hot(case: Case) -> Dish:
    return (round(case.chance.uniform(0.3, 0.75), 2),), (), THERMAL_WORDS


def _power_cap(case: Case) -> Dish:
    board = case.rack.machine.board
    part = case.chance.uniform(0.35, 0.8)
    watts = float(max(board.power_limit_min_w, round(board.power_limit_w * part)))
    # One limit unlike its siblings' is also what mixed_hardware is about.
    return (watts,), (Due(kind="mixed_hardware", required=False, whole_group=True),), POWER_WORDS


def _power_brake(_: Case) -> Dish:
    return (0.0,), (), ("brake",)


def _fan_dead(case: Case) -> Dish | None:
    fans = case.rack.machine.board.fans
    if not fans:
        return None
    return (float(case.chance.randint(1, fans)),), (Due(kind="fan_failure"),), ("fan", *THERMAL_WORDS)


def _pcie_narrow(case: Case) -> Dish:
    widths = [width for width in (1, 2, 4, 8) if width <= case.rack.machine.pcie_width // 2]
    return (float(case.chance.choice(widths)),), (Due(kind="pcie_degraded"),), ("pcie",)


def _pcie_slow(case: Case) -> Dish:
    return (
        (float(case.chance.randint(1, case.rack.machine.board.pcie_gen - 1)),),
        (Due(kind="pcie_degraded"),),
        ("pcie",),
    )


def _pcie_errors(case: Case) -> Dish:
    return (case.chance.choice((2.0, 5.0, 20.0, 200.0)),), (Due(kind="pcie_errors"),), None


def _nvlink_down(case: Case) -> Dish | None:
    if not case.rack.machine.links or not case.rack.machine.links[case.gpu]:
        return None
    wired = len(case.rack.machine.links[case.gpu])
    count = case.chance.choice((1, 1, 1, 2, max(1, wired // 2)))
    links = tuple(float(link) for link in case.chance.sample(range(wired), min(wired, count)))
    return links, (Due(kind="nvlink_down"),), ("nvlink",)


def _nvlink_errors(case: Case) -> Dish | None:
    if not case.rack.machine.links or len(case.rack.machine.links[case.gpu]) < 3:
        return None
    return (case.chance.choice((5.0, 25.0, 300.0)),), (Due(kind="nvlink_errors"), Due(kind="xid")), None


def _fabric_error(case: Case) -> Dish | None:
    if not case.rack.machine.board.has_fabric:
        return None
    return (0.0,), (Due(kind="fabric_error"),), None


def _xid(case: Case) -> Dish:
    code = case.chance.choice((48, 62, 64, 74, 79, 95, 119, 120, 140))
    return (float(code),), (Due(kind="xid"),), None


def _ecc(case: Case) -> Dish | None:
    if not case.rack.machine.board.has_ecc:
        return None
    return (
        (float(case.chance.choice((1, 2, 30))),),
        (Due(kind="ecc_uncorrected"), Due(kind="xid", required=False)),
        None,
    )


def _row_remap(case: Case) -> Dish | None:
    if not (case.rack.machine.board.has_row_remapping or case.rack.machine.board.has_retired_pages):
        return None
    return (0.0,), (Due(kind="row_remap"), Due(kind="xid", required=False)), None


def _row_remap_failed(case: Case) -> Dish | None:
    if not case.rack.machine.board.has_row_remapping:
        return None
    return (0.0,), (Due(kind="row_remap"), Due(kind="xid")), None


_STALLS = (Due(kind="tp_stalled", required=False, whole_group=True),)


def _lost(_: Case) -> Dish:
    return (0.0,), (Due(kind="gpu_lost"), Due(kind="xid"), *_STALLS), None


def _returns(case: Case) -> Dish:
    return (case.chance.uniform(25.0, 90.0),), (Due(kind="gpu_lost"), *_STALLS), None


def _needs_reset(_: Case) -> Dish:
    return (0.0,), (Due(kind="gpu_lost"), Due(kind="xid", required=False)), None


def _hang(_: Case) -> Dish:
    return (0.0,), (Due(kind="gpu_stale", after_s=3.0), Due(kind="xid")), None


def _slow_rank(case: Case) -> Dish:
    return (round(case.chance.choice((0.2, 0.3, 0.5, 1.0)) * case.chance.uniform(0.9, 1.2), 3),), (), (NO_CAUSE,)


def _noisy(case: Case) -> Dish:
    dues = (Due(kind="noisy_neighbour"), Due(kind="memory_imbalance", required=False))
    words = ("process", "program", "neighbour", "somebody", "shares", "finetune")
    return (round(case.chance.uniform(0.15, 0.6), 2),), dues, words


def _stuck(_: Case) -> Dish:
    return (0.0,), (Due(kind="tp_stalled", whole_group=True),), None


def _memory(case: Case) -> Dish:
    capacity = case.rack.machine.board.memory_bytes / GIB
    return (round(capacity * case.chance.uniform(0.06, 0.09), 1),), (Due(kind="memory_imbalance", least="info"),), None


def _idle_allocation(_: Case) -> Dish:
    return (0.0,), (Due(kind="idle_allocation", least="info", whole_group=True),), None


_COOKS: dict[str, Callable[[Case], Dish | None]] = {
    "hot": _hot,
    "power-cap": _power_cap,
    "power-brake": _power_brake,
    "fan-dead": _fan_dead,
    "pcie-narrow": _pcie_narrow,
    "pcie-slow": _pcie_slow,
    "pcie-errors": _pcie_errors,
    "nvlink-down": _nvlink_down,
    "nvlink-errors": _nvlink_errors,
    "fabric-error": _fabric_error,
    "xid": _xid,
    "ecc": _ecc,
    "row-remap": _row_remap,
    "row-remap-failed": _row_remap_failed,
    "lost": _lost,
    "returns": _returns,
    "needs-reset": _needs_reset,
    "hang": _hang,
    "slow-rank": _slow_rank,
    "noisy-neighbour": _noisy,
    "stuck": _stuck,
    "memory-imbalance": _memory,
    "idle-allocation": _idle_allocation,
}

FAULT_NAMES = tuple(_COOKS)


def cook(chance: random.Random, rack: Rack, name: str, seconds: int) -> Recipe | None:
    """A fault of this name somewhere on the machine, at some time; `None` where it makes no sense there."""
    group = chance.choice(rack.groups)
    gpu = chance.choice(group)
    dish = _COOKS[name](Case(chance, rack, gpu))
    if dish is None:
        return None
    strengths, dues, words = dish
    if name == "returns":
        start: float | None = float(chance.randint(20, seconds - 150))
        ends: float | None = (start or 0.0) + strengths[0]
    else:
        start, ends = _when(chance, name, seconds)
    overlays = tuple(Overlay(name=name, gpus=(gpu,), strength=one, start_s=start, end_s=ends) for one in strengths)
    if name == "slow-rank" and rack.machine.board.has_ecc and chance.random() < 0.25:
        # A storm of corrected errors slows a rank down: here both are laid over it.
        overlays += (Overlay(name="ecc-storm", gpus=(gpu,), strength=60.0, start_s=start, end_s=ends),)
        words = ("ecc", "memory error", "corrected", "remap")
        dues = (*dues, Due(kind="ecc_uncorrected", required=False), Due(kind="row_remap", required=False))
    return Recipe(
        name=name,
        gpu=gpu,
        overlays=overlays,
        dues=dues,
        imbalance_causes=words,
        capped=name == "power-cap",
        start_s=start,
        ends_s=ends,
    )


_LASTING = frozenset({"xid", "ecc", "row-remap", "row-remap-failed", "needs-reset", "lost", "hang", "nvlink-errors"})


def _when(chance: random.Random, name: str, seconds: int) -> tuple[float | None, float | None]:
    """All along, from some moment on, or for a while; what can't be undone lasts."""
    kind = chance.random()
    if name in {"xid", "nvlink-errors"} or (name in _LASTING and kind >= 0.3):
        return float(chance.randint(20, seconds - 130)), None
    if kind < 0.3:
        return None, None
    start = float(chance.randint(20, seconds - 150))
    if kind < 0.7:
        return start, None
    return start, start + chance.randint(110, 200)
