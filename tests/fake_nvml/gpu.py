"""One GPU of a scenario: its values by key, with a method for each thing a test wants to say of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fake_nvml.boards import MIB, Board
from fake_nvml.values import ALL_ONES_32, ALL_ONES_64, Settable, Value, counter, value_of, wave

if TYPE_CHECKING:
    from collections.abc import Iterable

THROTTLE_BITS = {
    "idle": 0x1,
    "applications_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
}
THROTTLE_FIELDS = {"sw_power_cap": 74, "sync_boost": 76, "sw_thermal": 269, "hw_thermal": 270, "hw_power_brake": 271}

ALL_LINKS = ALL_ONES_32
"""The scope that asks for the sum over all NVLinks."""

# Fields that say what a function says too: field id, key.
MIRRORS = {
    1: "ecc_mode",
    2: "ecc_mode_pending",
    3: "ecc_errors/0/0",
    4: "ecc_errors/1/0",
    5: "ecc_errors/0/1",
    6: "ecc_errors/1/1",
    29: "retired_pages/0",
    30: "retired_pages/1",
    31: "retired_pages_pending",
    83: "energy_mj",
    94: "pcie_replays",
    142: "remapped_rows/0",
    143: "remapped_rows/1",
    144: "remapped_rows/2",
    145: "remapped_rows/3",
    185: "power_mw",
    186: "power_mw",
    187: "min_power_limit_mw",
    188: "max_power_limit_mw",
    189: "default_power_limit_mw",
    190: "enforced_power_limit_mw",
    191: "energy_mj",
    192: "power_limit_mw",
}
SIGNED_FIELDS = range(193, 197)
NARROW_FIELDS = {1, 2, 29, 30, 31, 82, 91, 94, *range(142, 146), *range(164, 167), *range(173, 184), *range(185, 191)}
NARROW_FIELDS |= {192, 197, 198, 230}


def field_kind(field_id: int) -> str:
    """The type in which the driver hands out a field."""
    if field_id in SIGNED_FIELDS:
        return "i"
    return "u" if field_id in NARROW_FIELDS else "U"


@dataclass(frozen=True)
class Process:
    """A process as the driver lists it; `sm_pct` None: the driver has no sample of it."""

    pid: int
    memory_bytes: int | None
    sm_pct: int | None = 0
    kind: str = "C"
    memory_pct: int = 0
    encoder_pct: int = 0
    decoder_pct: int = 0
    gpu_instance: int = ALL_ONES_32
    compute_instance: int = ALL_ONES_32

    def line(self) -> str:
        """The process in the scenario file."""
        memory = ALL_ONES_64 if self.memory_bytes is None else self.memory_bytes
        sm = -1 if self.sm_pct is None else self.sm_pct
        return (
            f"process {self.pid} {self.kind} {memory} {sm} {self.memory_pct} {self.encoder_pct} {self.decoder_pct} "
            f"{self.gpu_instance} {self.compute_instance}"
        )


@dataclass
class Device:
    """Anything with a handle of its own: values by key, and processes."""

    values: dict[str, Value] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return str(self.values["uuid"].base)

    def set(self, key: str, given: Settable) -> None:
        """Any value by its key, as the C sources name it: `power_mw`, `fan_pct/1`, `field/186`, `nvlink_state/3`."""
        kind = field_kind(int(key.split("/")[1])) if key.startswith("field/") else "U"
        self.values[key] = value_of(given, kind)

    def unset(self, *keys: str) -> None:
        """Not supported from now on."""
        for key in keys:
            for known in [known for known in self.values if known == key or known.startswith(f"{key}/")]:
                del self.values[known]

    def lines(self) -> Iterable[str]:
        """The device's section of the scenario file."""
        values = self.values
        for field_id, key in MIRRORS.items():
            if key in self.values and f"field/{field_id}" not in self.values:
                values = {**values, f"field/{field_id}": value_of(self.values[key], field_kind(field_id))}
        yield from (f"{key} {value.line()}" for key, value in values.items())
        yield from (process.line() for process in self.processes)


@dataclass
class Gpu(Device):
    """A board; every method gives the board back, so that sentences can be chained."""

    board: Board = field(kw_only=True)
    slot: int = field(kw_only=True)
    started_at: float = field(kw_only=True)
    instances: list[Device] = field(default_factory=list)

    def put(self, key: str, given: Settable) -> Gpu:
        """`set`, chained."""
        self.set(key, given)
        return self

    def field(self, field_id: int, given: Settable, scope: int | None = None) -> Gpu:
        """A field value, for one scope or all; `error(code)` makes only this one fail."""
        return self.put(f"field/{field_id}" if scope is None else f"field/{field_id}/{scope}", given)

    def without(self, *keys: str) -> Gpu:
        """Not supported from now on, with everything below the key."""
        self.unset(*keys)
        return self

    def utilization(self, gpu_pct: Settable, memory_pct: Settable = 0) -> Gpu:
        return self.put("utilization_pct", gpu_pct).put("memory_utilization_pct", memory_pct)

    def memory(self, used_bytes: int, total_bytes: int | None = None) -> Gpu:
        self.set("memory_used", used_bytes)
        return self if total_bytes is None else self.put("memory_total", total_bytes)

    def power(self, watts: Settable) -> Gpu:
        """Draw in watts; the energy counter goes on from where it is, at that rate."""
        drawn = watts if isinstance(watts, Value) else Value("U", float(watts))
        milliwatts = drawn._replace(base=round(float(drawn.base) * 1000), amplitude=drawn.amplitude * 1000)
        return self.put("power_mw", milliwatts).rate("energy_mj", float(milliwatts.base))

    def power_limit(self, watts: float, enforced_w: float | None = None) -> Gpu:
        self.set("power_limit_mw", round(watts * 1000))
        return self.put("enforced_power_limit_mw", round((enforced_w or watts) * 1000))

    def rate(self, key: str, per_second: float, now: float | None = None) -> Gpu:
        """A counter grows at another rate from now on."""
        old = self.values[key]
        since = self.started_at if now is None else now
        return self.put(key, replace_counter(old, per_second, since))

    def temperature(self, degrees_c: int, memory_c: int | None = None) -> Gpu:
        self.set("temperature_c/0", degrees_c)
        if self.board.t_limits_c is not None:
            self.set("temperature_margin_c", Value("i", self.board.hottest_c - degrees_c))
        return self if memory_c is None else self.put("field/82", memory_c)

    def clocks(self, sm_mhz: int, memory_mhz: int | None = None) -> Gpu:
        self.put("clock_mhz/0", sm_mhz).put("clock_mhz/1", sm_mhz)
        return self if memory_mhz is None else self.put("clock_mhz/2", memory_mhz)

    def throttle(self, *reasons: str, share: float = 1.0) -> Gpu:
        """Held down for these reasons; their time counters run for that share of each second, others stand still."""
        self.set("throttle_reasons", sum(THROTTLE_BITS[reason] for reason in reasons))
        for reason, field_id in THROTTLE_FIELDS.items():
            self.rate(f"field/{field_id}", share * 1e9 if reason in reasons else 0.0)
        return self

    def fan(self, *speeds_pct: int) -> Gpu:
        self.unset("fan_pct")
        self.set("fans", len(speeds_pct))
        for index, speed in enumerate(speeds_pct):
            self.set(f"fan_pct/{index}", speed)
        return self

    def pcie(self, *, gen: int | None = None, width: int | None = None, replays: Settable | None = None) -> Gpu:
        for key, given in (("pcie_gen", gen), ("pcie_width", width), ("pcie_replays", replays)):
            if given is not None:
                self.set(key, given)
        return self

    def nvlink(self, link: int, *, up: bool | None = None, errors: dict[int, Settable] | None = None) -> Gpu:
        """One link: its state, its error counters (replay 0, recovery 1, CRC flit 2, CRC data 3, ECC 4)."""
        if up is not None:
            self.put(f"nvlink_state/{link}", int(up)).put(f"field/165/{link}", int(up))
        for kind, given in (errors or {}).items():
            self.set(f"nvlink_errors/{link}/{kind}", given)
        return self

    def ecc(self, *, corrected: Settable = 0, uncorrected: Settable = 0, aggregate: bool = False) -> Gpu:
        self.set(f"ecc_errors/0/{int(aggregate)}", corrected)
        return self.put(f"ecc_errors/1/{int(aggregate)}", uncorrected)

    def remapped_rows(
        self, corrected: int = 0, uncorrected: int = 0, *, pending: bool = False, failed: bool = False
    ) -> Gpu:
        for index, given in enumerate((corrected, uncorrected, int(pending), int(failed))):
            self.set(f"remapped_rows/{index}", given)
        return self

    def fabric(self, *, state: int = 3, status: int = 0, health: int = 0, summary: int = 0) -> Gpu:
        self.put("fabric_state", state).put("fabric_status", status)
        return self.put("fabric_health", health).put("fabric_summary", summary)

    def process(self, pid: int, memory_bytes: int | None = None, sm_pct: int | None = 0, **more: int | str) -> Gpu:
        """One more process; `kind` "C" compute, "G" graphics, "M" MPS client."""
        self.processes.append(replace(Process(pid, memory_bytes, sm_pct), **more))  # type: ignore[arg-type]  # checked by Process's own field names
        return self

    def mig(self, *slices: int) -> Gpu:
        """MIG on, with an instance of so many of the seven slices each."""
        self.put("mig_mode", 1).put("mig_mode_pending", 1)
        self.unset("utilization_pct", "memory_utilization_pct")
        total = int(float(self.values["memory_total"].base))
        self.instances = [self._instance(index, size, total) for index, size in enumerate(slices)]
        return self

    def _instance(self, index: int, slices: int, total_bytes: int) -> Device:
        instance = Device()
        memory = total_bytes * min(slices, 4) // 4 if slices > 3 else total_bytes * slices // 8
        values: dict[str, int | str] = {
            "uuid": f"MIG-{self.slot:08x}-0000-4000-8000-{index:012x}",
            "name": f"{self.board.name} MIG {slices}g.{memory // MIB // 1000}gb",
            "gpu_instance": 7 + index,
            "compute_instance": 0,
            "gpu_instance_slices": slices,
            "compute_instance_slices": slices,
            "multiprocessors": 16 * slices,
            "memory_total": memory,
            "memory_used": 64 * MIB,
            "memory_reserved": 0,
            "processes": 1,
        }
        for key, given in values.items():
            instance.set(key, given)
        return instance

    def idle(self) -> Gpu:
        """Nothing runs: what a real idle board says."""
        idle_w = self.board.power_w[2]
        self.utilization(0).memory(0).power(wave(idle_w, 1.5, 7.0, self.slot)).temperature(29 + self.slot % 4)
        self.clocks(self.board.sm_clock_mhz[0], self.board.memory_clock_mhz[0]).throttle("idle", share=0)
        self.processes.clear()
        for key in [key for key in self.values if key.startswith("gpm/")]:
            self.set(key, 0.0)
        for key in [key for key in self.values if key.startswith(("field/138", "field/139", "field/197", "field/198"))]:
            self.rate(key, 0.0)
        return self


def replace_counter(old: Value, per_second: float, now: float) -> Value:
    """The counter as it stands now, with another rate."""
    return counter(int(old.at(now)) if old.kind != "s" else 0, per_second, now, old.kind)
