"""What is worth saying of one GPU in a few words, and how serious it looks from a single reading."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from gpuwatch.render.text import clean
from gpuwatch.render.units import span_of_time
from gpuwatch_agent.model.gpu import Gpu

RANK = {"": 0, "info": 1, "stale": 2, "warning": 3, "critical": 4, "lost": 5}

THROTTLE_WORDS = {
    "applications_clocks": "application clocks",
    "sw_power_cap": "power cap",
    "hw_slowdown": "hw slowdown",
    "sync_boost": "sync boost",
    "sw_thermal": "sw thermal",
    "hw_thermal": "hw thermal",
    "hw_power_brake": "power brake",
    "display_clocks": "display clocks",
}
SLOWDOWNS = frozenset({"hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
# These mean a broken board, bus or driver; others are mostly a program's own mistakes.
GRAVE_XIDS = frozenset({48, 62, 64, 74, 79, 95, 119, 120, 140})


class Fact(Struct, frozen=True, gc=False):
    """A few words, and "" | "info" | "warning" | "critical" for how much they matter."""

    severity: str
    words: str


def facts_of(gpu: Gpu, siblings: Sequence[Gpu]) -> list[Fact]:
    """The most serious first; what is normal is not said at all."""
    facts = [*_driver_verdict(gpu), *_memory(gpu), *_xids(gpu), *_throttling(gpu), *_heat(gpu)]
    facts += [*_nvlink(gpu), *_pcie(gpu, siblings), *_limit(gpu, siblings), *_modes(gpu)]
    cleaned = [Fact(fact.severity, clean(fact.words)) for fact in facts]
    return sorted(cleaned, key=lambda fact: -RANK[fact.severity])


def with_state(gpu: Gpu, facts: Sequence[Fact]) -> list[Fact]:
    """First that a GPU does not answer and for how long, since its values are no longer true, then the rest.

    With its grave Xid in one breath: where there is room for one remark only, both are what one must know.
    """
    if gpu.state == "ok":
        return list(facts)
    age = "" if gpu.age_s is None else f" {span_of_time(gpu.age_s)}"
    grave = next((fact.words for fact in facts if fact.severity == "critical" and fact.words.startswith("Xid")), None)
    said = f"{gpu.state}{age}" if grave is None else f"{gpu.state}{age}, {grave}"
    return [Fact(gpu.state, said), *(fact for fact in facts if fact.words != grave)]


def worst(severities: Iterable[str]) -> str:
    """The most serious of them."""
    return max(severities, key=lambda severity: RANK[severity], default="")


def is_hot(gpu: Gpu) -> bool:
    """Whether the board has reached the temperature at which it slows down."""
    if gpu.temperature_margin_c is not None:
        return gpu.temperature_margin_c <= 0
    return (
        gpu.temperature_c is not None
        and gpu.temperature_slowdown_c is not None
        and gpu.temperature_c >= gpu.temperature_slowdown_c
    )


def is_slowed(gpu: Gpu) -> bool:
    """Whether heat or power delivery holds the clocks down."""
    return bool(SLOWDOWNS.intersection(gpu.throttle_reasons or ()))


def links_down(gpu: Gpu) -> int:
    """How many of the board's NVLinks are down, while others are up: boards without a bridge have all down."""
    if gpu.nvlink is None or not gpu.nvlink.active or gpu.nvlink.total is None:
        return 0
    return max(gpu.nvlink.total - gpu.nvlink.active, 0)


def narrow_link(gpu: Gpu, siblings: Sequence[Gpu]) -> bool:
    """Whether the PCIe link has fewer lanes than a like board's next to it."""
    if gpu.pcie is None or gpu.pcie.width is None:
        return False
    widths = [other.pcie.width or 0 for other in siblings if other.pcie and other.name == gpu.name]
    return gpu.pcie.width < max(widths, default=0)


def _driver_verdict(gpu: Gpu) -> Iterable[Fact]:
    if gpu.recovery_action and gpu.recovery_action != "none":
        yield Fact("critical", f"driver asks for {gpu.recovery_action.replace('_', ' ')}")
    if gpu.fabric is not None and gpu.fabric.healthy is False:
        yield Fact("warning", f"NVSwitch fabric {gpu.fabric.status or gpu.fabric.state or 'unhealthy'}")


def _memory(gpu: Gpu) -> Iterable[Fact]:
    if gpu.remapped_rows is not None:
        if gpu.remapped_rows.failed:
            yield Fact("critical", "row remapping failed")
        elif gpu.remapped_rows.pending:
            yield Fact("warning", "row remap pending")
    if gpu.retired_pages is not None and gpu.retired_pages.pending:
        yield Fact("warning", "page retirement pending")
    if gpu.ecc is not None and gpu.ecc.uncorrected_volatile:
        count = gpu.ecc.uncorrected_volatile
        yield Fact("warning", f"{count:,} uncorrected memory error{'s' if count > 1 else ''}")


def _xids(gpu: Gpu) -> Iterable[Fact]:
    for xid in gpu.xids or ():
        times = f" {xid.count}×" if xid.count > 1 else ""
        yield Fact("critical" if xid.code in GRAVE_XIDS else "info", f"Xid {xid.code}{times}")


def _throttling(gpu: Gpu) -> Iterable[Fact]:
    reasons = [reason for reason in gpu.throttle_reasons or () if reason != "idle"]
    if {"hw_thermal", "hw_power_brake"}.intersection(reasons):
        reasons = [reason for reason in reasons if reason != "hw_slowdown"]  # the same event in less exact words
    for reason in reasons:
        words = THROTTLE_WORDS.get(reason, reason.replace("_", " "))
        yield Fact("warning" if reason in SLOWDOWNS else "", words)


def _heat(gpu: Gpu) -> Iterable[Fact]:
    if is_hot(gpu) and not is_slowed(gpu):
        yield Fact("warning", "at its slowdown temperature")


def _nvlink(gpu: Gpu) -> Iterable[Fact]:
    down = links_down(gpu)
    if down and gpu.nvlink is not None:
        ports = [port.index for port in gpu.nvlink.links or () if port.state == "down"]
        which = f" {ports[0]}" if len(ports) == down == 1 else "s"
        yield Fact("warning", f"NVLink{which} down" if down == 1 else f"{down} NVLinks down")


def _pcie(gpu: Gpu, siblings: Sequence[Gpu]) -> Iterable[Fact]:
    if gpu.pcie is not None and narrow_link(gpu, siblings):
        yield Fact("warning", f"PCIe ×{gpu.pcie.width}, others more")


def _limit(gpu: Gpu, siblings: Sequence[Gpu]) -> Iterable[Fact]:
    if gpu.power_limit_w is None or gpu.power_limit_default_w is None:
        return
    if gpu.power_limit_w < gpu.power_limit_default_w - 0.5:
        like = [other.power_limit_w for other in siblings if other.name == gpu.name and other.power_limit_w is not None]
        odd = gpu.power_limit_w < max(like, default=gpu.power_limit_w) - 0.5
        yield Fact("warning" if odd else "", f"limit {gpu.power_limit_w:.0f} of {gpu.power_limit_default_w:.0f} W")


def _modes(gpu: Gpu) -> Iterable[Fact]:
    if gpu.mig is not None and gpu.mig.pending is not None and gpu.mig.pending != gpu.mig.enabled:
        yield Fact("info", f"MIG {'on' if gpu.mig.pending else 'off'} after a reset")
