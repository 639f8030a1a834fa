"""Every number of a GPU and of its host, declared once: the API, history, exporters and screens render from here."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host

Unit = Literal[
    "percent",
    "bytes",
    "bytes/s",
    "watts",
    "joules",
    "celsius",
    "megahertz",
    "seconds",
    "count",
    "lanes",
    "bool",
    "number",
]
Kind = Literal["gauge", "counter"]

THROTTLE_REASONS = (
    "idle",
    "applications_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clocks",
)

_WIDE_UNITS = frozenset({"bytes", "bytes/s", "joules"})
"""A 32-bit float holds 7 digits: enough for what a sensor says, not for bytes, energy and counters."""


class MetricSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One metric: where it stands in the frame, what it means, and its name in Prometheus' words."""

    path: str
    """The JSON path inside its owner, as `pcie.gen` or `throttle_seconds.hw_thermal`."""
    owner: Literal["gpu", "host"] = "gpu"
    unit: Unit
    kind: Kind = "gauge"
    whole: bool = False
    """True where the value counts something and has no fraction."""
    help: str
    source: str
    prometheus: str
    scale: float = 1.0
    """What the value is multiplied by to be in Prometheus' base unit."""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name under which history and queries know the metric."""
        return f"host.{self.path}" if self.owner == "host" else self.path

    @property
    def typecode(self) -> Literal["f", "d"]:
        """How wide an array element must be to hold the value."""
        return "d" if self.kind == "counter" or self.unit in _WIDE_UNITS else "f"


_SUFFIXES: dict[Unit, tuple[str, float]] = {
    "percent": ("_ratio", 0.01),
    "bytes": ("_bytes", 1.0),
    "bytes/s": ("_bytes_per_second", 1.0),
    "watts": ("_watts", 1.0),
    "joules": ("_joules", 1.0),
    "celsius": ("_celsius", 1.0),
    "megahertz": ("_hertz", 1e6),
    "seconds": ("_seconds", 1.0),
    "count": ("", 1.0),
    "lanes": ("_lanes", 1.0),
    "bool": ("", 1.0),
    "number": ("", 1.0),
}


def _gpu(
    path: str,
    unit: Unit,
    name: str,
    source: str,
    help_text: str,
    *,
    kind: Kind = "gauge",
    whole: bool = False,
    labels: tuple[tuple[str, str], ...] = (),
) -> MetricSpec:
    suffix, scale = _SUFFIXES[unit]
    return MetricSpec(
        path=path,
        unit=unit,
        kind=kind,
        whole=whole,
        help=help_text,
        source=source,
        prometheus=f"gpuwatch_gpu_{name}{suffix}{'_total' if kind == 'counter' else ''}",
        scale=scale,
        labels=labels,
    )


def _host(path: str, unit: Unit, name: str, source: str, help_text: str, *, whole: bool = False) -> MetricSpec:
    suffix, scale = _SUFFIXES[unit]
    return MetricSpec(
        owner="host",
        path=path,
        unit=unit,
        whole=whole,
        help=help_text,
        source=source,
        prometheus=f"gpuwatch_host_{name}{suffix}",
        scale=scale,
    )


_UTILIZATION = "nvmlDeviceGetUtilizationRates"
_MEMORY = "nvmlDeviceGetMemoryInfo_v2"
_BAR1 = "nvmlDeviceGetBAR1MemoryInfo"
_GPM = "nvmlGpmMetricsGet"
_REMAPPED = "nvmlDeviceGetRemappedRows"
_RETIRED = "nvmlDeviceGetRetiredPages"
_LIMITS = "nvmlDeviceGetPowerManagementLimitConstraints"

_READING = (_gpu("age_s", "seconds", "reading_age", "the agent's clock", "Age of the GPU's fast values."),)

_ACTIVITY = (
    _gpu(
        "utilization_pct",
        "percent",
        "utilization",
        _UTILIZATION,
        "Share of time a kernel was running; waiting in a collective counts as well.",
    ),
    _gpu(
        "memory_utilization_pct",
        "percent",
        "memory_utilization",
        _UTILIZATION,
        "Share of time the memory was being read or written.",
    ),
    _gpu(
        "encoder_pct",
        "percent",
        "encoder_utilization",
        "nvmlDeviceGetEncoderUtilization",
        "Share of time the video encoder was busy.",
    ),
    _gpu(
        "decoder_pct",
        "percent",
        "decoder_utilization",
        "nvmlDeviceGetDecoderUtilization",
        "Share of time the video decoder was busy.",
    ),
    _gpu(
        "engine_activity_pct",
        "percent",
        "engine_activity",
        _GPM,
        "Share of time the graphics and compute engine had anything to do, waiting included.",
    ),
    _gpu("sm_activity_pct", "percent", "sm_activity", _GPM, "Share of streaming multiprocessors with work, over time."),
    _gpu("sm_occupancy_pct", "percent", "sm_occupancy", _GPM, "Share of warp slots in use, over time."),
    _gpu(
        "tensor_activity_pct",
        "percent",
        "tensor_activity",
        _GPM,
        "Share of cycles in which the tensor cores were busy.",
    ),
    _gpu(
        "dram_activity_pct", "percent", "dram_activity", _GPM, "Share of cycles in which the memory interface was busy."
    ),
    _gpu(
        "imbalance_score",
        "number",
        "imbalance_score",
        "the agent's detectors",
        "How far the rank is from its group, 0 in step.",
    ),
)

_MEMORIES = (
    _gpu("memory_used_bytes", "bytes", "memory_used", _MEMORY, "Frame buffer memory in use.", whole=True),
    _gpu("memory_total_bytes", "bytes", "memory_size", _MEMORY, "Frame buffer memory of the board.", whole=True),
    _gpu(
        "memory_reserved_bytes",
        "bytes",
        "memory_reserved",
        _MEMORY,
        "Frame buffer memory kept by the driver.",
        whole=True,
    ),
    _gpu("bar1_used_bytes", "bytes", "bar1_used", _BAR1, "BAR1 window in use.", whole=True),
    _gpu("bar1_total_bytes", "bytes", "bar1_size", _BAR1, "BAR1 window of the board.", whole=True),
)

_POWER = (
    _gpu(
        "power_w",
        "watts",
        "power",
        "field 185, or nvmlDeviceGetPowerUsage",
        "Power draw of the board as the driver averages it.",
    ),
    _gpu("power_instant_w", "watts", "power_instant", "field 186", "Power draw of the board at this moment."),
    _gpu("power_limit_w", "watts", "power_limit", "nvmlDeviceGetEnforcedPowerLimit", "Power limit in force."),
    _gpu(
        "power_limit_default_w",
        "watts",
        "power_limit_default",
        "nvmlDeviceGetPowerManagementDefaultLimit",
        "Power limit the board was made with.",
    ),
    _gpu("power_limit_min_w", "watts", "power_limit_lowest", _LIMITS, "Lowest power limit the board takes."),
    _gpu("power_limit_max_w", "watts", "power_limit_highest", _LIMITS, "Highest power limit the board takes."),
    _gpu(
        "energy_j",
        "joules",
        "energy",
        "field 83, or nvmlDeviceGetTotalEnergyConsumption",
        "Energy used since the driver was loaded.",
        kind="counter",
    ),
)

_THERMALS = (
    _gpu("temperature_c", "celsius", "temperature", "nvmlDeviceGetTemperature", "Temperature of the GPU."),
    _gpu("memory_temperature_c", "celsius", "memory_temperature", "field 82", "Temperature of the memory."),
    _gpu(
        "temperature_slowdown_c",
        "celsius",
        "temperature_slowdown",
        "nvmlDeviceGetTemperatureThreshold, or the margin and field 194",
        "Temperature at which the board slows down.",
    ),
    _gpu(
        "temperature_shutdown_c",
        "celsius",
        "temperature_shutdown",
        "nvmlDeviceGetTemperatureThreshold, or the margin and field 193",
        "Temperature at which the board switches off.",
    ),
    _gpu(
        "temperature_margin_c",
        "celsius",
        "temperature_margin",
        "nvmlDeviceGetMarginTemperature",
        "Degrees left before the board slows down.",
    ),
    _gpu(
        "fan_pct", "percent", "fan_speed", "nvmlDeviceGetFanSpeed_v2", "Speed of the fans, as a share of the highest."
    ),
)

_CLOCKS = (
    _gpu(
        "sm_clock_mhz",
        "megahertz",
        "sm_clock",
        "nvmlDeviceGetClockInfo",
        "Clock of the streaming multiprocessors.",
        whole=True,
    ),
    _gpu(
        "sm_clock_max_mhz",
        "megahertz",
        "sm_clock_highest",
        "nvmlDeviceGetMaxClockInfo",
        "Highest clock of the streaming multiprocessors.",
        whole=True,
    ),
    _gpu("memory_clock_mhz", "megahertz", "memory_clock", "nvmlDeviceGetClockInfo", "Clock of the memory.", whole=True),
    _gpu(
        "memory_clock_max_mhz",
        "megahertz",
        "memory_clock_highest",
        "nvmlDeviceGetMaxClockInfo",
        "Highest clock of the memory.",
        whole=True,
    ),
    _gpu(
        "pstate",
        "number",
        "performance_state",
        "nvmlDeviceGetPerformanceState",
        "Performance state, 0 the fastest, 15 the slowest.",
        whole=True,
    ),
)

_THROTTLING = tuple(
    _gpu(
        f"throttle_seconds.{reason}",
        "seconds",
        "throttle",
        "fields 74, 76, 269 to 271, or nvmlDeviceGetViolationStatus",
        "Time for which clocks were held down, by reason.",
        kind="counter",
        labels=(("reason", reason),),
    )
    for reason in THROTTLE_REASONS
)

_PCIE = (
    _gpu(
        "pcie.gen",
        "number",
        "pcie_generation",
        "nvmlDeviceGetCurrPcieLinkGeneration",
        "PCIe generation now; falls at idle by design.",
        whole=True,
    ),
    _gpu(
        "pcie.gen_max",
        "number",
        "pcie_generation_highest",
        "nvmlDeviceGetMaxPcieLinkGeneration",
        "Highest PCIe generation of board and slot.",
        whole=True,
    ),
    _gpu("pcie.width", "lanes", "pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", "PCIe lanes in use now.", whole=True),
    _gpu(
        "pcie.width_max",
        "lanes",
        "pcie_width_highest",
        "nvmlDeviceGetMaxPcieLinkWidth",
        "Most PCIe lanes of board and slot.",
        whole=True,
    ),
    _gpu("pcie.tx_bytes_per_s", "bytes/s", "pcie_transmit", "field 197, differenced, or GPM", "Bytes sent over PCIe."),
    _gpu(
        "pcie.rx_bytes_per_s", "bytes/s", "pcie_receive", "field 198, differenced, or GPM", "Bytes received over PCIe."
    ),
    _gpu(
        "pcie.replays",
        "count",
        "pcie_replays",
        "nvmlDeviceGetPcieReplayCounter",
        "PCIe packets sent again.",
        kind="counter",
        whole=True,
    ),
)

_NVLINK = (
    _gpu(
        "nvlink.active", "number", "nvlink_links_active", "nvmlDeviceGetNvLinkState", "NVLinks that are up.", whole=True
    ),
    _gpu(
        "nvlink.total", "number", "nvlink_links", "nvmlDeviceGetNvLinkState", "NVLinks the board has wired.", whole=True
    ),
    _gpu(
        "nvlink.tx_bytes_per_s", "bytes/s", "nvlink_transmit", "field 138, differenced", "Bytes sent over all NVLinks."
    ),
    _gpu(
        "nvlink.rx_bytes_per_s",
        "bytes/s",
        "nvlink_receive",
        "field 139, differenced",
        "Bytes received over all NVLinks.",
    ),
    _gpu(
        "fabric.healthy",
        "bool",
        "fabric_healthy",
        "nvmlDeviceGetGpuFabricInfoV",
        "1 where the NVSwitch fabric is in good health.",
        whole=True,
    ),
)

_HEALTH = (
    _gpu(
        "ecc.enabled", "bool", "ecc_enabled", "nvmlDeviceGetEccMode", "1 where memory errors are corrected.", whole=True
    ),
    _gpu(
        "ecc.corrected",
        "count",
        "ecc_corrected_errors",
        "nvmlDeviceGetTotalEccErrors",
        "Memory errors corrected over the life of the board.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "ecc.uncorrected",
        "count",
        "ecc_uncorrected_errors",
        "nvmlDeviceGetTotalEccErrors",
        "Memory errors not corrected over the life of the board.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "ecc.corrected_volatile",
        "count",
        "ecc_volatile_corrected_errors",
        "nvmlDeviceGetTotalEccErrors",
        "Memory errors corrected since the driver was loaded.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "ecc.uncorrected_volatile",
        "count",
        "ecc_volatile_uncorrected_errors",
        "nvmlDeviceGetTotalEccErrors",
        "Memory errors not corrected since the driver was loaded.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "remapped_rows.corrected",
        "count",
        "remapped_rows_corrected",
        _REMAPPED,
        "Memory rows replaced after corrected errors.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "remapped_rows.uncorrected",
        "count",
        "remapped_rows_uncorrected",
        _REMAPPED,
        "Memory rows replaced after uncorrected errors.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "remapped_rows.pending",
        "bool",
        "remapped_rows_pending",
        _REMAPPED,
        "1 where a row waits for a reset to be replaced.",
        whole=True,
    ),
    _gpu(
        "remapped_rows.failed",
        "bool",
        "remapped_rows_failed",
        _REMAPPED,
        "1 where replacing a row has failed.",
        whole=True,
    ),
    _gpu(
        "retired_pages.single_bit",
        "count",
        "retired_pages_single_bit",
        _RETIRED,
        "Memory pages retired after single bit errors.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "retired_pages.double_bit",
        "count",
        "retired_pages_double_bit",
        _RETIRED,
        "Memory pages retired after double bit errors.",
        kind="counter",
        whole=True,
    ),
    _gpu(
        "retired_pages.pending",
        "bool",
        "retired_pages_pending",
        "nvmlDeviceGetRetiredPagesPendingStatus",
        "1 where a page waits for a reboot to be retired.",
        whole=True,
    ),
    _gpu(
        "mig.enabled", "bool", "mig_enabled", "nvmlDeviceGetMigMode", "1 where the GPU is divided by MIG.", whole=True
    ),
    _gpu(
        "mig.pending",
        "bool",
        "mig_pending",
        "nvmlDeviceGetMigMode",
        "1 where the GPU is divided by MIG after the next reset.",
        whole=True,
    ),
    _gpu(
        "persistence_mode",
        "bool",
        "persistence_mode",
        "nvmlDeviceGetPersistenceMode",
        "1 where the driver stays loaded without users.",
        whole=True,
    ),
    _gpu(
        "display_active",
        "bool",
        "display_active",
        "nvmlDeviceGetDisplayActive",
        "1 where a display is driven.",
        whole=True,
    ),
)

GPU_SUBJECTS: dict[str, tuple[MetricSpec, ...]] = {
    "gpus": _READING,
    "activity": _ACTIVITY,
    "memory": _MEMORIES,
    "power": _POWER,
    "thermals": _THERMALS,
    "clocks": _CLOCKS,
    "throttling": _THROTTLING,
    "pcie": _PCIE,
    "nvlink": _NVLINK,
    "health": _HEALTH,
}
"""What is said of a GPU, by what it is about: scrapes can be cut down to some of these."""

GPU_SPECS: tuple[MetricSpec, ...] = tuple(spec for specs in GPU_SUBJECTS.values() for spec in specs)

HOST_SPECS: tuple[MetricSpec, ...] = (
    _host("uptime_s", "seconds", "uptime", "/proc/uptime", "Time since the machine was started."),
    _host("cpu_count", "number", "cpus", "/proc/stat", "Logical processors.", whole=True),
    _host("cpu_pct", "percent", "cpu_utilization", "/proc/stat", "Share of processor time that was not idle."),
    _host("load_1m", "number", "load1", "/proc/loadavg", "Load average over one minute."),
    _host("load_5m", "number", "load5", "/proc/loadavg", "Load average over five minutes."),
    _host("load_15m", "number", "load15", "/proc/loadavg", "Load average over fifteen minutes."),
    _host("memory_total_bytes", "bytes", "memory_size", "/proc/meminfo", "Memory of the machine.", whole=True),
    _host("memory_used_bytes", "bytes", "memory_used", "/proc/meminfo", "Memory in use.", whole=True),
    _host(
        "memory_available_bytes",
        "bytes",
        "memory_available",
        "/proc/meminfo",
        "Memory that programs can still get.",
        whole=True,
    ),
    _host("swap_total_bytes", "bytes", "swap_size", "/proc/meminfo", "Swap space of the machine.", whole=True),
    _host("swap_used_bytes", "bytes", "swap_used", "/proc/meminfo", "Swap space in use.", whole=True),
    _host("disk_read_bytes_per_s", "bytes/s", "disk_read", "/proc/diskstats, differenced", "Bytes read from disks."),
    _host("disk_write_bytes_per_s", "bytes/s", "disk_write", "/proc/diskstats, differenced", "Bytes written to disks."),
    _host(
        "network_rx_bytes_per_s",
        "bytes/s",
        "network_receive",
        "/proc/net/dev, differenced",
        "Bytes received over the network.",
    ),
    _host(
        "network_tx_bytes_per_s",
        "bytes/s",
        "network_transmit",
        "/proc/net/dev, differenced",
        "Bytes sent over the network.",
    ),
)

SPECS: dict[str, MetricSpec] = {spec.name: spec for spec in (*GPU_SPECS, *HOST_SPECS)}
"""All metrics by name."""

Value = float | int | bool | None


def value_of(owner: Gpu | Host, spec: MetricSpec) -> Value:
    """What `owner` says of one metric, `None` where it says nothing."""
    group, _, field = spec.path.rpartition(".")
    holder = getattr(owner, group) if group else owner
    if holder is None:
        return None
    value: Value = holder.get(field) if isinstance(holder, dict) else getattr(holder, field)
    return value


def reader(specs: Sequence[MetricSpec]) -> Callable[[Gpu | Host], list[Value]]:
    """Make a function that reads all of `specs` at once, in their order, many times faster than one by one."""
    groups: dict[str, list[int]] = {}
    for position, spec in enumerate(specs):
        groups.setdefault(spec.path.rpartition(".")[0], []).append(position)
    tables = {"throttle_seconds"} & groups.keys()
    plans = [
        (group, positions, [specs[position].path.rpartition(".")[2] for position in positions])
        for group, positions in groups.items()
    ]
    structs = [(group, tuple(positions), _getter(fields)) for group, positions, fields in plans if group not in tables]
    dicts = [
        (group, tuple(zip(positions, fields, strict=True))) for group, positions, fields in plans if group in tables
    ]
    blank: list[Value] = [None] * len(specs)

    def read(owner: Gpu | Host) -> list[Value]:
        values = blank.copy()
        for group, positions, getter in structs:
            holder = getattr(owner, group) if group else owner
            if holder is not None:
                for position, value in zip(positions, getter(holder), strict=True):
                    values[position] = value
        for group, entries in dicts:
            table = getattr(owner, group)
            if table:
                for position, field in entries:
                    values[position] = table.get(field)
        return values

    return read


def _getter(fields: list[str]) -> Callable[[object], tuple[Value, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    (only,) = fields
    return lambda holder: (getattr(holder, only),)
