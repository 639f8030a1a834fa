"""Everything about one GPU as pairs of a word and a value, in the order in which one asks."""

from collections.abc import Iterator, Sequence

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.facts import SLOWDOWNS, THROTTLE_WORDS, is_hot, links_down
from gpuwatch.render.text import DASH, SIGNS, clean, wrap
from gpuwatch.render.units import gib, gib_total, gigabytes_per_s, span_of_time, whole
from gpuwatch_agent.model.absence import SENTENCES
from gpuwatch_agent.model.gpu import Gpu


class Pair:
    """A word, its value, and why the value is absent."""

    __slots__ = ("tip", "value", "word")

    def __init__(self, word: str, value: Line, tip: str = "") -> None:
        self.word = word
        self.value = value
        self.tip = tip


def pairs_of(gpu: Gpu) -> list[Pair]:
    """All pairs, those the board can't tell as dim dashes with their reason."""
    return [
        *_load(gpu),
        *_power(gpu),
        *_heat(gpu),
        *_clocks(gpu),
        *_links(gpu),
        *_memory_health(gpu),
        *_what_it_is(gpu),
    ]


def _pair(gpu: Gpu, word: str, path: str, text: str | None, style: str = "") -> Pair:
    if text is None:
        absence = gpu.absent.get(path)
        reason = SENTENCES[absence] if absence is not None else "not told by the driver"
        return Pair(word, [Span(DASH, "dim")], f"{word}: {reason}")
    return Pair(word, [Span(text, style if gpu.state == "ok" else "dim")])


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} %"


def _load(gpu: Gpu) -> Iterator[Pair]:
    yield _pair(gpu, "utilisation", "utilization_pct", _percent(gpu.utilization_pct))
    active = [_percent(value) for value in (gpu.sm_activity_pct, gpu.tensor_activity_pct, gpu.dram_activity_pct)]
    text = None if all(part is None for part in active) else " · ".join(part or DASH for part in active)
    yield _pair(gpu, "SM · tensor · DRAM", "sm_activity_pct", text)
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    memory = None if used is None else f"{gib(used)} of {DASH if total is None else gib_total(total)} GiB"
    yield _pair(gpu, "memory", "memory_used_bytes", memory)
    if gpu.encoder_pct or gpu.decoder_pct:
        yield Pair(
            "video enc · dec", [Span(f"{_percent(gpu.encoder_pct) or DASH} · {_percent(gpu.decoder_pct) or DASH}")]
        )


def _power(gpu: Gpu) -> Iterator[Pair]:
    yield _pair(gpu, "power", "power_w", None if gpu.power_w is None else f"{gpu.power_w:.0f} W")
    limit, default = gpu.power_limit_w, gpu.power_limit_default_w
    text = None if limit is None else f"{limit:.0f} W"
    lowered = limit is not None and default is not None and limit < default - 0.5
    if text is not None and lowered:
        text = f"{SIGNS['warning']} {text}, by default {default:.0f}"
    yield _pair(gpu, "power limit", "power_limit_w", text, "warning text" if lowered else "")
    if gpu.power_limit_min_w is not None and gpu.power_limit_max_w is not None:
        yield Pair("it may be", [Span(f"{gpu.power_limit_min_w:.0f} to {gpu.power_limit_max_w:.0f} W", "dim")])
    energy = None if gpu.energy_j is None else f"{gpu.energy_j / 3.6e6:,.1f} kWh"
    yield _pair(gpu, "energy since load", "energy_j", energy)


def _heat(gpu: Gpu) -> Iterator[Pair]:
    text = None if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C"
    if text is not None and gpu.temperature_slowdown_c is not None:
        text += f", slows at {gpu.temperature_slowdown_c:.0f}"
    elif text is not None and gpu.temperature_margin_c is not None:
        text += f", {gpu.temperature_margin_c:+.0f} to its limit"
    hot = is_hot(gpu)
    yield _pair(
        gpu, "temperature", "temperature_c", f"{SIGNS['warning']} {text}" if hot else text, "warning" if hot else ""
    )
    memory = None if gpu.memory_temperature_c is None else f"{gpu.memory_temperature_c:.0f} °C"
    yield _pair(gpu, "memory temperature", "memory_temperature_c", memory)
    fans = [speed for speed in gpu.fans_pct or () if speed is not None]
    text = " ".join(f"{speed:.0f}" for speed in fans) + " %" if len(fans) > 1 else _percent(gpu.fan_pct)
    yield _pair(gpu, "fans" if len(fans) > 1 else "fan", "fan_pct", text)


def _clocks(gpu: Gpu) -> Iterator[Pair]:
    clock, most = gpu.sm_clock_mhz, gpu.sm_clock_max_mhz
    text = None if clock is None else f"{whole(clock)} of {DASH if most is None else whole(most)} MHz"
    yield _pair(gpu, "SM clock", "sm_clock_mhz", text)
    yield _pair(
        gpu,
        "memory clock",
        "memory_clock_mhz",
        None if gpu.memory_clock_mhz is None else f"{whole(gpu.memory_clock_mhz)} MHz",
    )
    yield _pair(gpu, "performance state", "pstate", None if gpu.pstate is None else f"P{gpu.pstate}")
    reasons = gpu.throttle_reasons
    words = (
        None if reasons is None else ", ".join(THROTTLE_WORDS.get(reason, reason) for reason in reasons) or "nothing"
    )
    slowed = bool(SLOWDOWNS.intersection(reasons or ()))
    yield _pair(
        gpu,
        "held down by",
        "throttle_reasons",
        f"{SIGNS['warning']} {words}" if slowed else words,
        "warning text" if slowed else "",
    )
    seconds = {
        reason: value for reason, value in (gpu.throttle_seconds or {}).items() if value >= 1 and reason != "idle"
    }
    if seconds:
        worst = sorted(seconds.items(), key=lambda item: -item[1])[:3]
        told = ", ".join(f"{THROTTLE_WORDS.get(reason, reason)} {span_of_time(value)}" for reason, value in worst)
        yield Pair("in all, since load", [Span(told, "dim")])


def _links(gpu: Gpu) -> Iterator[Pair]:
    pcie = gpu.pcie
    if pcie is not None:
        now = (
            None
            if pcie.width is None
            else f"gen {pcie.gen or DASH} ×{pcie.width} of {pcie.gen_max or DASH} ×{pcie.width_max or DASH}"
        )
        yield _pair(gpu, "PCIe", "pcie.width", now)
        rates = (
            None
            if pcie.tx_bytes_per_s is None and pcie.rx_bytes_per_s is None
            else f"↑{_rate(pcie.tx_bytes_per_s)} ↓{_rate(pcie.rx_bytes_per_s)} GB/s"
        )
        yield _pair(gpu, "PCIe rate", "pcie.tx_bytes_per_s", rates)
        yield _pair(gpu, "PCIe replays", "pcie.replays", None if pcie.replays is None else f"{pcie.replays:,}", "dim")
    link = gpu.nvlink
    if link is not None and link.total:
        down = links_down(gpu)
        text = None if link.active is None else f"{link.active} of {link.total} up"
        yield _pair(
            gpu,
            "NVLink",
            "nvlink.active",
            f"{SIGNS['warning']} {text}" if down else text,
            "warning text" if down else "",
        )
        rates = (
            None if link.tx_bytes_per_s is None else f"↑{_rate(link.tx_bytes_per_s)} ↓{_rate(link.rx_bytes_per_s)} GB/s"
        )
        yield _pair(gpu, "NVLink rate", "nvlink.tx_bytes_per_s", rates)


def _rate(value: float | None) -> str:
    return DASH if value is None else gigabytes_per_s(value)


def _memory_health(gpu: Gpu) -> Iterator[Pair]:
    if gpu.ecc is not None:
        counts = (gpu.ecc.corrected, gpu.ecc.uncorrected)
        text = (
            None if counts == (None, None) else " · ".join(DASH if count is None else f"{count:,}" for count in counts)
        )
        bad = bool(gpu.ecc.uncorrected_volatile)
        yield _pair(gpu, "ECC corr. · uncorr.", "ecc.corrected", text, "warning text" if bad else "")
    rows = gpu.remapped_rows
    if rows is not None and (rows.corrected or rows.uncorrected or rows.pending or rows.failed):
        said = f"{rows.corrected or 0} + {rows.uncorrected or 0}"
        said += ", one waits for a reset" if rows.pending else ""
        said += ", remapping failed" if rows.failed else ""
        yield Pair("rows remapped", [Span(said, "warning text" if rows.pending or rows.failed else "")])
    if gpu.xids:
        told = ", ".join(f"{xid.code}{f' {xid.count}×' if xid.count > 1 else ''}" for xid in gpu.xids)
        yield Pair("Xids", [Span(told, "warning text")])
    if gpu.recovery_action and gpu.recovery_action != "none":
        yield Pair("driver asks for", [Span(gpu.recovery_action.replace("_", " "), "critical")])


def _what_it_is(gpu: Gpu) -> Iterator[Pair]:
    yield _pair(gpu, "bus id", "pci_bus_id", gpu.pci_bus_id, "dim")
    yield _pair(gpu, "NUMA node", "numa_node", None if gpu.numa_node is None else str(gpu.numa_node), "dim")
    mode = [
        gpu.compute_mode or "",
        "persistence" if gpu.persistence_mode else "",
        "display" if gpu.display_active else "",
    ]
    if any(mode):
        yield Pair("mode", [Span(clean(", ".join(part for part in mode if part)), "dim")])
    for word, text in (("VBIOS", gpu.vbios_version), ("serial", gpu.serial), ("UUID", gpu.uuid)):
        if text:
            yield Pair(word, [Span(clean(text), "dim")])


def why_dashes(pairs: Sequence[Pair], width: int) -> list[Line]:
    """The reasons of all dashes in words, for those who have no pointer to rest on them: each reason once."""
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        word, colon, reason = pair.tip.partition(": ")
        if colon:
            reasons.setdefault(reason, []).append(word)
    lines: list[Line] = []
    for reason, words in reasons.items():
        for position, text in enumerate(wrap(f"{', '.join(words)}: {reason}", max(width - 4, 20))):
            lines.append([Span(f" {DASH if position == 0 else ' '} {text}", "dim")])
    return lines


def columns_of(pairs: Sequence[Pair], height: int) -> list[Sequence[Pair]]:
    """The pairs in columns of at most that height."""
    return [pairs[first : first + height] for first in range(0, len(pairs), max(height, 1))]
