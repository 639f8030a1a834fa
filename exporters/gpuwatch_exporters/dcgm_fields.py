"""DCGM's fields as data: name, type, HELP, and which of our values it is, at what scale.

The first table is what dcgm-exporter 4.x exports unless told otherwise, in its order and with its HELP; the others are
what it exports on demand and a frame knows. What DCGM has and a frame does not know is in none.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.gpu import Gpu, MigInstance

Number = float | int | None

_MEBIBYTE = 1 << 20
_NANOSECONDS = 1e9
_THROTTLE_BITS = {
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


class DcgmField(Struct, frozen=True, kw_only=True):
    """One of DCGM's fields in our words."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    path: str = ""
    """The metric it is, as the model declares it; empty where it is put together by `derive`."""
    derive: Callable[[Gpu], Number] | None = None
    scale: float = 1.0
    """What the value is multiplied by to be in DCGM's unit."""
    whole: bool = False
    """True where DCGM gives whole numbers."""
    of_instance: Callable[[MigInstance], Number] | None = None
    """The same of one slice of a GPU in MIG mode; where it is there, the GPU as a whole has no sample."""


def free_bytes(gpu: Gpu) -> Number:
    """Total less used and reserved; where the driver does not tell them apart, used holds what is reserved."""
    if gpu.memory_total_bytes is None or gpu.memory_used_bytes is None:
        return None
    return max(0, gpu.memory_total_bytes - gpu.memory_used_bytes - (gpu.memory_reserved_bytes or 0))


def used_share(gpu: Gpu) -> Number:
    """Used memory as a share of what programs can have, 0 to 1."""
    free = free_bytes(gpu)
    if free is None or gpu.memory_used_bytes is None or not gpu.memory_used_bytes + free:
        return None
    return gpu.memory_used_bytes / (gpu.memory_used_bytes + free)


def nvlink_bandwidth(gpu: Gpu) -> Number:
    """KiB a second, both directions, over 1000: what DCGM's "counter" holds is a rate, and this is its unit."""
    link = gpu.nvlink
    if link is None or link.tx_bytes_per_s is None or link.rx_bytes_per_s is None:
        return None
    return (link.tx_bytes_per_s + link.rx_bytes_per_s) / 1024 / 1000


def last_xid(gpu: Gpu) -> Number:
    """The code of the last Xid; 0 where they are watched and none has come."""
    if gpu.xids is None:
        return None
    return max(gpu.xids, key=lambda xid: xid.last_seen).code if gpu.xids else 0


def throttle_bits(gpu: Gpu) -> Number:
    """The reasons as NVML's bits."""
    if gpu.throttle_reasons is None:
        return None
    return sum(_THROTTLE_BITS.get(reason, 0) for reason in gpu.throttle_reasons)


def thermal_seconds(gpu: Gpu) -> Number:
    """Software and hardware slowdown together, so that any increase of either is one."""
    parts = [(gpu.throttle_seconds or {}).get(reason) for reason in ("sw_thermal", "hw_thermal")]
    known = [seconds for seconds in parts if seconds is not None]
    return sum(known) if known else None


def _link_errors(name: str) -> Callable[[Gpu], Number]:
    def total(gpu: Gpu) -> Number:
        ports = (gpu.nvlink.links if gpu.nvlink is not None else None) or []
        counts = [port.errors[name] for port in ports if port.errors is not None and name in port.errors]
        return sum(counts) if counts else None

    return total


def _slice_used(part: MigInstance) -> Number:
    return part.memory_used_bytes


def _slice_total(part: MigInstance) -> Number:
    return part.memory_total_bytes


def _slice_free(part: MigInstance) -> Number:
    if part.memory_total_bytes is None or part.memory_used_bytes is None:
        return None
    return max(0, part.memory_total_bytes - part.memory_used_bytes)


def _slice_used_share(part: MigInstance) -> Number:
    return (
        part.memory_used_bytes / part.memory_total_bytes if part.memory_used_bytes and part.memory_total_bytes else None
    )


def _slice_sm(part: MigInstance) -> Number:
    return part.sm_activity_pct


def _gauge(name: str, help_text: str, path: str, *, scale: float = 1.0, whole: bool = False) -> DcgmField:
    return DcgmField(name=name, kind="gauge", help=help_text, path=path, scale=scale, whole=whole)


def _counter(name: str, help_text: str, path: str, *, scale: float = 1.0) -> DcgmField:
    return DcgmField(name=name, kind="counter", help=help_text, path=path, scale=scale, whole=True)


def _mebibytes(
    name: str,
    help_text: str,
    path: str = "",
    *,
    derive: Callable[[Gpu], Number] | None = None,
    of_instance: Callable[[MigInstance], Number] | None = None,
) -> DcgmField:
    return DcgmField(
        name=name,
        kind="gauge",
        help=help_text,
        path=path,
        derive=derive,
        scale=1 / _MEBIBYTE,
        whole=True,
        of_instance=of_instance,
    )


def _share(name: str, help_text: str, path: str) -> DcgmField:
    return _gauge(name, help_text, path, scale=0.01)


DEFAULT_FIELDS: tuple[DcgmField, ...] = (
    _gauge("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", "sm_clock_mhz", whole=True),
    _gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", "memory_clock_mhz", whole=True),
    _gauge("DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", "memory_temperature_c", whole=True),
    _gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", "temperature_c", whole=True),
    _gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", "power_w"),
    _counter(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ).", "energy_j", scale=1000.0
    ),
    _counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "Total number of PCIe retries.", "pcie.replays"),
    _gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", "utilization_pct", whole=True),
    _gauge("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", "memory_utilization_pct", whole=True),
    _gauge("DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", "encoder_pct", whole=True),
    _gauge("DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", "decoder_pct", whole=True),
    DcgmField(
        name="DCGM_FI_DEV_XID_ERRORS",
        kind="gauge",
        help="Value of the last XID error encountered.",
        derive=last_xid,
        whole=True,
    ),
    _mebibytes("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", derive=free_bytes, of_instance=_slice_free),
    _mebibytes(
        "DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", "memory_used_bytes", of_instance=_slice_used
    ),
    _mebibytes("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB).", "memory_reserved_bytes"),
    DcgmField(
        name="DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        kind="counter",
        help="Total number of NVLink bandwidth counters for all lanes.",
        derive=nvlink_bandwidth,
        whole=True,
    ),
    _counter(
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "Number of remapped rows for uncorrectable errors",
        "remapped_rows.uncorrected",
    ),
    _counter(
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        "Number of remapped rows for correctable errors",
        "remapped_rows.corrected",
    ),
    _gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed", "remapped_rows.failed", whole=True),
    _share("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.", "engine_activity_pct"),
    _share(
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "Ratio of cycles the tensor (HMMA) pipe is active.",
        "tensor_activity_pct",
    ),
    _share(
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "Ratio of cycles the device memory interface is active sending or receiving data.",
        "dram_activity_pct",
    ),
    _gauge(
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        "The rate of data transmitted over the PCIe bus - including both protocol headers and data payloads - in bytes per second.",
        "pcie.tx_bytes_per_s",
        whole=True,
    ),
    _gauge(
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        "The rate of data received over the PCIe bus - including both protocol headers and data payloads - in bytes per second.",
        "pcie.rx_bytes_per_s",
        whole=True,
    ),
)

_ACTIVITY_AND_MEMORY = (
    DcgmField(
        name="DCGM_FI_PROF_SM_ACTIVE",
        kind="gauge",
        help="The ratio of cycles an SM has at least 1 warp assigned.",
        path="sm_activity_pct",
        scale=0.01,
        of_instance=_slice_sm,
    ),
    _share("DCGM_FI_PROF_SM_OCCUPANCY", "The ratio of number of warps resident on an SM.", "sm_occupancy_pct"),
    _mebibytes(
        "DCGM_FI_DEV_FB_TOTAL", "Framebuffer memory in all (in MiB).", "memory_total_bytes", of_instance=_slice_total
    ),
    DcgmField(
        name="DCGM_FI_DEV_FB_USED_PERCENT",
        kind="gauge",
        help="Used framebuffer memory as a share of what is not reserved (0 to 1).",
        derive=used_share,
        of_instance=_slice_used_share,
    ),
    _mebibytes("DCGM_FI_DEV_BAR1_TOTAL", "BAR1 window (in MiB).", "bar1_total_bytes"),
    _mebibytes("DCGM_FI_DEV_BAR1_USED", "BAR1 window in use (in MiB).", "bar1_used_bytes"),
)

_POWER_AND_CLOCKS = (
    _gauge("DCGM_FI_DEV_POWER_USAGE_INSTANT", "Power draw at this moment (in W).", "power_instant_w"),
    _gauge("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "Power limit in force (in W).", "power_limit_w"),
    _gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF", "Default power limit (in W).", "power_limit_default_w"),
    _gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN", "Lowest power limit (in W).", "power_limit_min_w"),
    _gauge("DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", "Highest power limit (in W).", "power_limit_max_w"),
    _gauge("DCGM_FI_DEV_SLOWDOWN_TEMP", "Temperature of slowdown (in C).", "temperature_slowdown_c", whole=True),
    _gauge("DCGM_FI_DEV_SHUTDOWN_TEMP", "Temperature of shutdown (in C).", "temperature_shutdown_c", whole=True),
    _gauge("DCGM_FI_DEV_GPU_TEMP_LIMIT", "Margin left before slowdown (in C).", "temperature_margin_c", whole=True),
    _gauge("DCGM_FI_DEV_FAN_SPEED", "Fan speed (in %).", "fan_pct", whole=True),
    _gauge("DCGM_FI_DEV_MAX_SM_CLOCK", "Highest SM clock frequency (in MHz).", "sm_clock_max_mhz", whole=True),
    _gauge("DCGM_FI_DEV_MAX_MEM_CLOCK", "Highest memory clock frequency (in MHz).", "memory_clock_max_mhz", whole=True),
    _gauge("DCGM_FI_DEV_PSTATE", "Performance state (0 the fastest, 15 the slowest).", "pstate", whole=True),
)

_REASONS_HELP = "Why clocks are held down now (bit mask)."
_THROTTLING = (
    DcgmField(
        name="DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", kind="gauge", help=_REASONS_HELP, derive=throttle_bits, whole=True
    ),
    DcgmField(
        name="DCGM_FI_DEV_CLOCKS_EVENT_REASONS", kind="gauge", help=_REASONS_HELP, derive=throttle_bits, whole=True
    ),
    _counter(
        "DCGM_FI_DEV_POWER_VIOLATION",
        "Throttling duration due to power constraints (in ns).",
        "throttle_seconds.sw_power_cap",
        scale=_NANOSECONDS,
    ),
    DcgmField(
        name="DCGM_FI_DEV_THERMAL_VIOLATION",
        kind="counter",
        help="Throttling duration due to thermal constraints (in ns).",
        derive=thermal_seconds,
        scale=_NANOSECONDS,
        whole=True,
    ),
    _counter(
        "DCGM_FI_DEV_SYNC_BOOST_VIOLATION",
        "Throttling duration due to sync-boost constraints (in ns).",
        "throttle_seconds.sync_boost",
        scale=_NANOSECONDS,
    ),
    *(
        _counter(
            f"DCGM_FI_DEV_CLOCKS_EVENT_REASON_{theirs}_NS",
            f"Throttling duration due to {words} (in ns).",
            f"throttle_seconds.{ours}",
            scale=_NANOSECONDS,
        )
        for theirs, ours, words in (
            ("SW_POWER_CAP", "sw_power_cap", "the power limit"),
            ("SYNC_BOOST", "sync_boost", "sync boost"),
            ("SW_THERM_SLOWDOWN", "sw_thermal", "heat, by software"),
            ("HW_THERM_SLOWDOWN", "hw_thermal", "heat, by hardware"),
            ("HW_POWER_BRAKE_SLOWDOWN", "hw_power_brake", "the power brake"),
        )
    ),
)

_MEMORY_HEALTH = (
    _counter(
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
        "Total number of single-bit volatile ECC errors.",
        "ecc.corrected_volatile",
    ),
    _counter(
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "Total number of double-bit volatile ECC errors.",
        "ecc.uncorrected_volatile",
    ),
    _counter("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", "Total number of single-bit persistent ECC errors.", "ecc.corrected"),
    _counter("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", "Total number of double-bit persistent ECC errors.", "ecc.uncorrected"),
    _counter(
        "DCGM_FI_DEV_RETIRED_SBE",
        "Total number of retired pages due to single-bit errors.",
        "retired_pages.single_bit",
    ),
    _counter(
        "DCGM_FI_DEV_RETIRED_DBE",
        "Total number of retired pages due to double-bit errors.",
        "retired_pages.double_bit",
    ),
    # The driver says whether there are any, not how many.
    _counter("DCGM_FI_DEV_RETIRED_PENDING", "Total number of pages pending retirement.", "retired_pages.pending"),
    _gauge(
        "DCGM_FI_DEV_ROW_REMAP_PENDING", "Whether remapping of rows is pending", "remapped_rows.pending", whole=True
    ),
)

_LINKS = (
    _gauge("DCGM_FI_DEV_PCIE_LINK_GEN", "PCIe link generation now.", "pcie.gen", whole=True),
    _gauge("DCGM_FI_DEV_PCIE_LINK_WIDTH", "PCIe lanes in use now.", "pcie.width", whole=True),
    _gauge("DCGM_FI_DEV_PCIE_MAX_LINK_GEN", "Highest PCIe link generation.", "pcie.gen_max", whole=True),
    _gauge("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH", "Most PCIe lanes.", "pcie.width_max", whole=True),
    _gauge(
        "DCGM_FI_PROF_NVLINK_TX_BYTES",
        "The rate of data transmitted over NVLink, in bytes per second.",
        "nvlink.tx_bytes_per_s",
        whole=True,
    ),
    _gauge(
        "DCGM_FI_PROF_NVLINK_RX_BYTES",
        "The rate of data received over NVLink, in bytes per second.",
        "nvlink.rx_bytes_per_s",
        whole=True,
    ),
    *(
        DcgmField(
            name=f"DCGM_FI_DEV_NVLINK_{theirs}_ERROR_COUNT_TOTAL",
            kind="counter",
            help=f"Total number of NVLink {words}.",
            derive=_link_errors(ours),
            whole=True,
        )
        for theirs, ours, words in (
            ("CRC_FLIT", "crc_flit", "flow-control CRC errors"),
            ("CRC_DATA", "crc_data", "data CRC errors"),
            ("REPLAY", "replay", "retries"),
            ("RECOVERY", "recovery", "recovery errors"),
        )
    ),
)

_MODES = (
    _gauge("DCGM_FI_DEV_MIG_MODE", "Whether the GPU is divided by MIG.", "mig.enabled", whole=True),
    _gauge("DCGM_FI_DEV_PERSISTENCE_MODE", "Whether the driver stays loaded.", "persistence_mode", whole=True),
)

FIELDS: dict[str, tuple[DcgmField, ...]] = {
    "default": DEFAULT_FIELDS,
    "activity": _ACTIVITY_AND_MEMORY,
    "power": _POWER_AND_CLOCKS,
    "throttling": _THROTTLING,
    "health": _MEMORY_HEALTH,
    "links": _LINKS,
    "modes": _MODES,
}
"""All of them, by the names under which `collect[]` and `exclude[]` choose."""
