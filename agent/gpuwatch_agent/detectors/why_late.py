"""Why a rank is late: only what the board or the host itself says, and only where it is enough to explain the delay."""

from msgspec import Struct

from gpuwatch_agent.detectors.foreign import named, sm_share, worst_of
from gpuwatch_agent.detectors.lateness import Lateness
from gpuwatch_agent.detectors.link_loss import Fabric, carries, lost_bandwidth, pcie_rate
from gpuwatch_agent.detectors.lockstep import WINDOW_S, Rank, Working, lower_median
from gpuwatch_agent.detectors.window import GpuView
from gpuwatch_agent.model.gpu import Gpu

# A throttle that ran for less of the window does not make a rank late.
_THROTTLED_SHARE = 0.15
# A cause that explains less than this of the loss is not the cause.
_EXPLAINS = 0.5
# The most that a group loses for each SM that a stranger takes.
_COST_OF_SHARE = 0.95
# What a stranger may cost of whom nobody knows how much it takes; two programs that take turns have half of the GPU each.
_COST_OF_UNKNOWN = 0.3
_TAKING_TURNS = 0.5
_STORM_ERRORS_PER_S = 1.0
_ERRORS_WINDOW_S = 60.0
_LIMIT_LOWERED = 0.97
_UNEVEN_MEMORY = 0.10
_FABRICS: tuple[Fabric, ...] = ("pcie", "nvlink")


class Cause(Struct, frozen=True, kw_only=True):
    """Something that is wrong with a late rank."""

    name: str
    """One word for programs, in the evidence as `cause_kind`."""
    sentence: str
    short: str
    """How it reads after "GPU 5 holds the other 7 back: "."""
    action: str
    explains: float
    """The loss of pace that it may bring by itself."""
    most: float | None = None
    """The most that may be said to be lost to it, where that is known."""
    evidence: dict[str, float | int | str | None] = {}


def cause_of(group: Working, late: Lateness) -> Cause | None:
    """The fact that explains the delay best; `None` where none does, which is then said."""
    neighbour = _neighbour(late)
    if late.sign == "utilization":
        # A program that anybody can see comes before what can only be guessed of the host.
        if neighbour is not None and neighbour.explains >= _EXPLAINS * late.loss:
            return neighbour
        return _slow_host(group, late.rank)
    found = [
        cause
        for cause in (
            neighbour,
            _throttle(late.rank),
            _power_limit(group, late.rank),
            _link(group, late),
            _other_board(group, late),
            _memory_errors(late),
            _uneven_memory(group, late),
        )
        if cause is not None and cause.explains >= _EXPLAINS * late.loss
    ]
    return max(found, key=lambda cause: cause.explains, default=None)


def _clock_loss(rank: Rank) -> float:
    return max(0.0, 1.0 - rank.clock_ratio) if rank.clock_ratio is not None else 0.0


def _clocks(rank: Rank) -> str:
    most = rank.view.gpu.sm_clock_max_mhz
    if rank.sm_clock_mhz is None:
        return "its SM clock is unknown"
    return f"{rank.sm_clock_mhz:,.0f}{f' of {most:,}' if most else ''} MHz"


def _slow_host(group: Working, rank: Rank) -> Cause:
    others = lower_median([one.utilization_pct for one in group.ranks if one is not rank])
    return Cause(
        name="slow_host",
        short=f"its host side is slow (busy {rank.utilization_pct:.0f} % of the time, the others {others:.0f} %)",
        sentence="The GPU runs out of work: what feeds this rank on the host is slow.",
        action="Look at the rank's process with `top -H` and `py-spy dump`: a busy or badly pinned CPU, a data loader, "
        "swapping, or work that only this rank does (tokenising, logging, sampling).",
        explains=1.0,
    )


def _throttle(rank: Rank) -> Cause | None:
    view = rank.view
    thermal = max(view.share(f"throttle_seconds.{reason}", WINDOW_S) or 0.0 for reason in ("sw_thermal", "hw_thermal"))
    brake = view.share("throttle_seconds.hw_power_brake", WINDOW_S) or 0.0
    reasons = view.gpu.throttle_reasons or []
    if "throttle_seconds.sw_thermal" not in _has_counters(view) and (
        "sw_thermal" in reasons or "hw_thermal" in reasons
    ):
        thermal = 1.0
    if "throttle_seconds.hw_power_brake" not in _has_counters(view) and "hw_power_brake" in reasons:
        brake = 1.0
    # A hardware slowdown swallows pulses that the clock reading still counts, so it explains more than the clock shows.
    explains = 1.15 * _clock_loss(rank) + 0.03
    if brake >= _THROTTLED_SHARE and brake >= thermal:
        return Cause(
            name="power_brake",
            short=f"the power brake is on, {_clocks(rank)}",
            sentence="The hardware halves its clocks because the power supply signals an overload (power brake).",
            action="Check power supplies and cables of the chassis (BMC log), and that no PSU has failed or lost its feed.",
            explains=explains,
            evidence={"throttled_share": round(brake, 2)},
        )
    if thermal < _THROTTLED_SHARE:
        return _hardware_slowdown(rank, explains) if "hw_slowdown" in reasons else None
    limit = view.gpu.temperature_slowdown_c
    degrees = f"{view.gpu.temperature_c:.0f}{f' of {limit:.0f}' if limit else ''} °C" if view.gpu.temperature_c else ""
    return Cause(
        name="thermal_throttle",
        short=f"hot ({degrees}), {_clocks(rank)}" if degrees else f"too hot, {_clocks(rank)}",
        sentence="It is too hot and lowers its clocks.",
        action=f"Check fans, airflow and dust at {view.label}'s slot and the inlet temperature; until then cap the group "
        "at the clock it reaches, or move the job.",
        explains=explains,
        evidence={"temperature_c": view.gpu.temperature_c, "throttled_share": round(thermal, 2)},
    )


def _hardware_slowdown(rank: Rank, explains: float) -> Cause:
    return Cause(
        name="hw_slowdown",
        short=f"its own hardware slows it down, {_clocks(rank)}",
        sentence="The hardware slows its clock down (HW slowdown), neither for heat nor by the power brake.",
        action="See `nvidia-smi -q -d PERFORMANCE` and the power cables of the board; if it comes back after a reboot, "
        "return the board.",
        explains=explains,
    )


def _has_counters(view: GpuView) -> frozenset[str]:
    return frozenset(f"throttle_seconds.{reason}" for reason in view.gpu.throttle_seconds or ())


def _power_limit(group: Working, rank: Rank) -> Cause | None:
    gpu = rank.view.gpu
    if gpu.power_limit_w is None:
        return None
    others = [
        one.view.gpu.power_limit_w
        for one in group.ranks
        if one is not rank and one.view.gpu.power_limit_w is not None and one.view.gpu.name == gpu.name
    ]
    usual = lower_median(others) if others else gpu.power_limit_default_w
    if usual is None or gpu.power_limit_w > _LIMIT_LOWERED * usual:
        return None
    return Cause(
        name="power_limit",
        short=f"its power limit is {gpu.power_limit_w:,.0f} W where its siblings have {usual:,.0f} W, {_clocks(rank)}",
        sentence="Its power limit is lower than its siblings'.",
        action=f"Set it back: `nvidia-smi -i {gpu.index} -pl {usual:.0f}`; find out who lowered it "
        "(a service at boot, a colleague, the BMC).",
        explains=1.15 * _clock_loss(rank) + 0.03,
        evidence={"power_limit_w": gpu.power_limit_w, "siblings_power_limit_w": usual},
    )


def _neighbour(late: Lateness) -> Cause | None:
    processes = late.rank.strangers
    if not processes:
        return None
    worst, share = worst_of(processes), sm_share(processes)
    # A program that takes SMs costs caches and memory traffic too.
    explains = 1.3 * share / 100.0 + 0.02 if share is not None else _COST_OF_UNKNOWN
    most = None
    if late.sign in {"power", "activity"}:
        # Both count what the stranger does as the rank's work: the loss that they tell is too high, and no word against it.
        most = _COST_OF_SHARE * share / 100.0 if share is not None else _TAKING_TURNS
        explains = explains if share is not None else max(explains, _EXPLAINS * late.loss)
    return Cause(
        name="noisy_neighbour",
        short=f"{named(worst)} {f'takes {share:.0f} % of its SMs' if share is not None else 'runs there too'}",
        sentence="Another program runs on the same GPU.",
        action=f"Move or stop PID {worst.pid}, or give it a GPU of its own (`CUDA_VISIBLE_DEVICES`, MIG, exclusive mode).",
        explains=explains,
        most=most,
        evidence={"foreign_pid": worst.pid, "foreign_sm_pct": share},
    )


def _link(group: Working, late: Lateness) -> Cause | None:
    """Where the link itself told, it is the cause; else an odd link that carries the traffic is the best guess there is."""
    for fabric in (late.fabric,) if late.fabric is not None else _FABRICS:
        lost = lost_bandwidth(group, late.rank, fabric)
        if lost and (late.fabric is not None or carries(group, late.rank, fabric)):
            explains = late.loss if late.fabric is not None else min(0.5 * late.loss, lost)
            told = _pcie_link if fabric == "pcie" else _nvlink
            return told(group, late.rank, explains, lost)
    return None


def _pcie_link(group: Working, rank: Rank, explains: float, lost: float) -> Cause | None:
    pcie = rank.view.gpu.pcie
    other = _usual_pcie(group, rank)
    if pcie is None or other is None or other.pcie is None:
        return None
    return Cause(
        name="pcie_link",
        short=f"its PCIe link runs at gen {pcie.gen} ×{pcie.width} where its siblings have "
        f"gen {other.pcie.gen} ×{other.pcie.width}",
        sentence=f"Its PCIe link is degraded (PCIe gen {pcie.gen} ×{pcie.width}).",
        action="Reseat the card and its riser, check the slot's lanes in the BIOS and `dmesg | grep -i aer`; "
        "a reboot trains the link anew.",
        explains=explains,
        most=lost,
        evidence={"pcie_gen": pcie.gen, "pcie_width": pcie.width, "bandwidth_lost_pct": round(100 * lost)},
    )


def _usual_pcie(group: Working, rank: Rank) -> Gpu | None:
    """A sibling with the link that siblings have in the middle."""
    others = [one.view.gpu for one in group.ranks if one is not rank and pcie_rate(one.view.gpu)]
    others.sort(key=lambda gpu: pcie_rate(gpu) or 0.0)
    return others[(len(others) - 1) // 2] if others else None


def _nvlink(_: Working, rank: Rank, explains: float, lost: float) -> Cause | None:
    nvlink = rank.view.gpu.nvlink
    if nvlink is None:
        return None
    return Cause(
        name="nvlink_down",
        short=f"only {nvlink.active} of its {nvlink.total} NVLinks are up",
        sentence="NVLinks of it are down.",
        action="See `nvidia-smi nvlink -s` and the Xids in `dmesg`; a GPU reset brings a link back, "
        "one that fails again means a board, bridge or switch to exchange.",
        explains=explains,
        most=lost,
        evidence={
            "nvlink_active": nvlink.active,
            "nvlink_total": nvlink.total,
            "bandwidth_lost_pct": round(100 * lost),
        },
    )


def _other_board(group: Working, late: Lateness) -> Cause | None:
    name = late.rank.view.gpu.name
    others = [one.view.gpu.name for one in group.ranks if one is not late.rank]
    if group.alike or not name or others.count(name) * 2 >= len(others):
        return None
    usual = max(set(others), key=others.count)
    return Cause(
        name="slower_board",
        short=f"it is the slower board ({name} among {usual})",
        sentence="It is another model than its siblings, and slower.",
        action="Keep boards of one model in a group, or give this one a group of its own.",
        explains=late.loss,
    )


def _memory_errors(late: Lateness) -> Cause | None:
    view = late.rank.view
    rate = max(
        (view.increase(f"{name}", _ERRORS_WINDOW_S) or 0.0) / min(_ERRORS_WINDOW_S, 60.0)
        for name in ("ecc.corrected_volatile", "ecc.corrected")
    )
    remapped = view.increase("remapped_rows.corrected", _ERRORS_WINDOW_S) or 0.0
    if rate < _STORM_ERRORS_PER_S and remapped < 1:
        return None
    return Cause(
        name="memory_errors",
        short=f"its memory corrects {rate:,.0f} errors a second",
        sentence="A storm of corrected memory errors slows it.",
        action="Drain the node and reset the GPU so that bad rows are remapped; if it comes back, return the board.",
        explains=0.6 * late.loss,
        evidence={"corrected_errors_per_s": round(rate, 1)},
    )


def _uneven_memory(group: Working, late: Lateness) -> Cause | None:
    gpu = late.rank.view.gpu
    others = [one.view.gpu.memory_used_bytes for one in group.ranks if one is not late.rank]
    known = [used for used in others if used is not None]
    if gpu.memory_used_bytes is None or not gpu.memory_total_bytes or not known:
        return None
    more = gpu.memory_used_bytes - lower_median(known)
    if more < _UNEVEN_MEMORY * gpu.memory_total_bytes:
        return None
    return Cause(
        name="uneven_shards",
        short=f"it holds {more / 2**30:.1f} GiB more than its siblings",
        sentence="It holds notably more of the model than its siblings.",
        action="Check how the model is split (embedding and head layers, experts, `--tensor-split`), and what else "
        "holds memory there.",
        explains=0.55 * late.loss,
        evidence={"memory_above_siblings_bytes": int(more)},
    )
