"""Faults that can be laid over a machine. A new fault is one entry in `FAULTS` and the line that applies it."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.hardware.simulated.boards import GIB
from gpuwatch_agent.hardware.simulated.conditions import Conditions
from gpuwatch_agent.hardware.simulated.machines import Machine
from gpuwatch_agent.model.errors import (
    DriverMismatchError,
    DriverNotLoadedError,
    DriverUnavailableError,
    LibraryMissingError,
)


class Strength(Struct, frozen=True, kw_only=True):
    """What the number after `=` means; `default` may depend on the machine."""

    meaning: str
    default: float | Callable[[Machine], float]
    low: float | Callable[[Machine], float]
    high: float | Callable[[Machine], float]
    choices: tuple[float, ...] = ()
    whole: bool = False

    def on(self, machine: Machine) -> tuple[float, float, float]:
        """Default, lowest and highest on this machine."""
        default, low, high = (
            bound(machine) if callable(bound) else bound for bound in (self.default, self.low, self.high)
        )
        return default, low, high


class Fault(Struct, frozen=True, kw_only=True):
    """One way to fail."""

    description: str
    strength: Strength | None = None
    needs: str | None = None
    """A key of `NEEDS`: what a GPU must have for the fault to make sense."""
    apply: Callable[[Conditions, float], None] | None = None
    xid: int | Literal["strength"] | None = None
    """Reported once, when the fault begins."""
    driver_error: Callable[[], DriverUnavailableError] | None = None
    """For faults of the whole driver: what every call raises."""
    lasts_strength: bool = False
    """Whether the strength is how long it lasts; it then begins 20 s after opening unless told otherwise."""

    takes_real_time: bool = False
    """Whether it keeps callers waiting by the clock on the wall, so that no simulated time may pass beside it."""

    @property
    def of_driver(self) -> bool:
        return self.driver_error is not None


def _in_lockstep(machine: Machine, gpu: int) -> bool:
    return any(gpu in job.gpus and job.split in {"tensor", "data"} for job in machine.jobs)


NEEDS: dict[str, tuple[Callable[[Machine, int], bool], str]] = {
    "fans": (lambda machine, _: machine.board.fans > 0, "its boards have no fans of their own"),
    "nvlink": (lambda machine, gpu: bool(machine.links and machine.links[gpu]), "it has no NVLink"),
    "fabric": (
        lambda machine, _: machine.board.has_fabric and bool(machine.links),
        "it has no NVSwitch fabric that reports its state",
    ),
    "ecc": (lambda machine, _: machine.board.has_ecc, "its boards have no ECC memory"),
    "repair": (
        lambda machine, _: machine.board.has_row_remapping or machine.board.has_retired_pages,
        "its boards neither remap rows nor retire pages",
    ),
    "rows": (lambda machine, _: machine.board.has_row_remapping, "its boards do not remap rows"),
    "lockstep": (_in_lockstep, "no job there runs in lockstep over several GPUs"),
    "job": (lambda machine, gpu: any(gpu in job.gpus for job in machine.jobs), "nothing runs on that GPU"),
    "plain": (lambda machine, _: not machine.slices, "its GPUs are cut into MIG instances"),
    "p_cap": (
        lambda machine, _: machine.board.power_limit_min_w < machine.board.power_limit_w,
        "its power limit is fixed",
    ),
}


def _hot(now: Conditions, blocked: float) -> None:
    now.airflow *= 1.0 - blocked


def _power_cap(now: Conditions, watts: float) -> None:
    now.power_limit_w = watts


def _power_brake(now: Conditions, _: float) -> None:
    now.power_brake = True


def _fan_dead(now: Conditions, fans: float) -> None:
    now.dead_fans = int(fans)


def _pcie_narrow(now: Conditions, width: float) -> None:
    now.pcie_width = int(width)


def _pcie_slow(now: Conditions, generation: float) -> None:
    now.pcie_gen = int(generation)


def _pcie_errors(now: Conditions, per_s: float) -> None:
    now.pcie_errors_per_s = per_s


def _nvlink_down(now: Conditions, link: float) -> None:
    now.links_down |= {int(link)}


def _nvlink_errors(now: Conditions, per_s: float) -> None:
    now.link_errors_per_s = per_s


def _fabric_error(now: Conditions, _: float) -> None:
    now.fabric_failed = True


def _ecc(now: Conditions, errors: float) -> None:
    now.uncorrectable += int(errors)


def _ecc_storm(now: Conditions, per_s: float) -> None:
    now.correctable_per_s = per_s


def _row_remap(now: Conditions, _: float) -> None:
    now.rows_pending = True


def _row_remap_failed(now: Conditions, _: float) -> None:
    now.rows_failed = True


def _lost(now: Conditions, _: float) -> None:
    now.lost = True


def _returns(now: Conditions, _: float) -> None:
    now.lost = True
    now.off_the_list = True


def _hang(now: Conditions, _: float) -> None:
    now.hangs = True


def _slow(now: Conditions, seconds: float) -> None:
    now.slow_call_s = seconds


def _slow_rank(now: Conditions, more: float) -> None:
    now.slowness += more


def _noisy_neighbour(now: Conditions, part: float) -> None:
    now.foreign = part


def _stuck(now: Conditions, _: float) -> None:
    now.stuck = True


def _memory_imbalance(now: Conditions, gib: float) -> None:
    now.extra_memory_bytes = int(gib * GIB)


def _idle_allocation(now: Conditions, _: float) -> None:
    now.idle = True


def _no_permission(now: Conditions, _: float) -> None:
    now.denied = True


def _needs_reset(now: Conditions, _: float) -> None:
    now.needs_reset = True


def _nothing(now: Conditions, _: float) -> None:
    """For faults that only report."""
    del now


FAULTS: dict[str, Fault] = {
    "hot": Fault(
        description="The air no longer reaches the GPU: it heats up to its limit and lowers its clocks.",
        strength=Strength(meaning="part of the airflow that is blocked", default=0.54, low=0.05, high=0.95),
        apply=_hot,
    ),
    "power-cap": Fault(
        description="Somebody lowered the power limit.",
        strength=Strength(
            meaning="limit in watts",
            default=lambda machine: max(machine.board.power_limit_min_w, round(machine.board.power_limit_w * 0.6)),
            low=lambda machine: machine.board.power_limit_min_w,
            high=lambda machine: machine.board.power_limit_max_w,
        ),
        needs="p_cap",
        apply=_power_cap,
    ),
    "power-brake": Fault(
        description="The power supply pulls the brake: the hardware halves the clocks.", apply=_power_brake
    ),
    "fan-dead": Fault(
        description="Fans of the board stand still.",
        strength=Strength(
            meaning="number of dead fans", default=1, low=1, high=lambda machine: machine.board.fans, whole=True
        ),
        needs="fans",
        apply=_fan_dead,
    ),
    "pcie-narrow": Fault(
        description="The PCIe link trained with fewer lanes.",
        strength=Strength(
            meaning="lanes",
            default=4,
            low=1,
            high=lambda machine: machine.pcie_width // 2,
            choices=(1, 2, 4, 8),
            whole=True,
        ),
        apply=_pcie_narrow,
    ),
    "pcie-slow": Fault(
        description="The PCIe link trained at a lower generation and stays there under load.",
        strength=Strength(
            meaning="generation", default=1, low=1, high=lambda machine: machine.board.pcie_gen - 1, whole=True
        ),
        apply=_pcie_slow,
    ),
    "pcie-errors": Fault(
        description="The PCIe link corrupts packets and sends them again.",
        strength=Strength(meaning="replays per second", default=4.0, low=0.01, high=10_000),
        apply=_pcie_errors,
    ),
    "nvlink-down": Fault(
        description="One NVLink is down.",
        strength=Strength(
            meaning="index of the link",
            default=lambda machine: 11 if machine.board.nvlinks > 11 else max(0, machine.board.nvlinks - 3),
            low=0,
            high=lambda machine: max(0, machine.board.nvlinks - 1),
            whole=True,
        ),
        needs="nvlink",
        apply=_nvlink_down,
    ),
    "nvlink-errors": Fault(
        description="One NVLink (link 2) corrupts packets and sends them again.",
        strength=Strength(meaning="replays per second", default=25.0, low=0.01, high=1_000_000),
        needs="nvlink",
        apply=_nvlink_errors,
        xid=74,
    ),
    "fabric-error": Fault(
        description="The GPU's registration with the NVSwitch fabric failed.", needs="fabric", apply=_fabric_error
    ),
    "xid": Fault(
        description="The driver reports an Xid, with no other effect.",
        strength=Strength(meaning="Xid code", default=31, low=1, high=999, whole=True),
        apply=_nothing,
        xid="strength",
    ),
    "ecc": Fault(
        description="Memory errors that could not be corrected.",
        strength=Strength(meaning="number of errors", default=2, low=1, high=100_000, whole=True),
        needs="ecc",
        apply=_ecc,
        xid=94,
    ),
    "ecc-storm": Fault(
        description="Memory errors that were corrected, by the thousand.",
        strength=Strength(meaning="errors per second", default=40.0, low=0.01, high=1_000_000),
        needs="ecc",
        apply=_ecc_storm,
    ),
    "row-remap": Fault(
        description="A bad memory row waits for a reset to be replaced (before Ampere: a page to be retired).",
        needs="repair",
        apply=_row_remap,
        xid=63,
    ),
    "row-remap-failed": Fault(
        description="A bad memory row could not be replaced: the board is due for exchange.",
        needs="rows",
        apply=_row_remap_failed,
        xid=64,
    ),
    "lost": Fault(description="The GPU has fallen off the bus.", apply=_lost, xid=79),
    "returns": Fault(
        description="The GPU leaves the driver's list without an Xid, and comes back.",
        strength=Strength(meaning="seconds it is away", default=30.0, low=1, high=86_400),
        apply=_returns,
        lasts_strength=True,
    ),
    "hang": Fault(description="The driver never answers for this GPU.", apply=_hang, xid=119),
    "slow": Fault(
        description="Each call to the driver about this GPU takes long.",
        strength=Strength(meaning="seconds a call", default=0.05, low=0.001, high=60),
        apply=_slow,
        takes_real_time=True,
    ),
    "slow-rank": Fault(
        description="One rank computes more slowly for no reason that the GPU shows; its group waits for it.",
        strength=Strength(meaning="by how much longer it takes", default=0.35, low=0.01, high=10),
        needs="lockstep",
        apply=_slow_rank,
    ),
    "noisy-neighbour": Fault(
        description="Somebody else's program runs on the same GPU.",
        strength=Strength(meaning="part of the GPU it takes", default=0.35, low=0.01, high=0.9),
        needs="plain",
        apply=_noisy_neighbour,
    ),
    "stuck": Fault(
        description="A collective hangs: the group's GPUs read 100 % at near idle power and send nothing.",
        needs="lockstep",
        apply=_stuck,
    ),
    "memory-imbalance": Fault(
        description="One GPU holds more memory than its siblings.",
        strength=Strength(
            meaning="GiB more",
            default=lambda machine: round(machine.board.memory_bytes / GIB * 0.08, 1),
            low=0.1,
            high=lambda machine: machine.board.memory_bytes / GIB,
        ),
        needs="job",
        apply=_memory_imbalance,
    ),
    "idle-allocation": Fault(
        description="The job on this GPU holds its memory and computes nothing.", needs="job", apply=_idle_allocation
    ),
    "no-permission": Fault(
        description="This user may not see the profile of the GPU nor who runs on it.", apply=_no_permission
    ),
    "needs-reset": Fault(description="The driver wants a reset before it says more.", apply=_needs_reset, xid=154),
    "driver-gone": Fault(description="The kernel driver is not loaded.", driver_error=DriverNotLoadedError),
    "driver-mismatch": Fault(
        description="The driver was upgraded under the running system.", driver_error=DriverMismatchError
    ),
    "driver-missing": Fault(description="No NVIDIA driver is installed.", driver_error=LibraryMissingError),
}
