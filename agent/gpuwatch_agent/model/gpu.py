"""One GPU at one moment. Every field may be `None`; `absent` then says why."""

from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.process import Process

GpuState = Literal["ok", "stale", "lost"]


class Pcie(Struct, frozen=True, kw_only=True, gc=False):
    """The PCIe link now and at most; rates are differenced from byte counters."""

    gen: int | None = None
    gen_max: int | None = None
    width: int | None = None
    width_max: int | None = None
    tx_bytes_per_s: float | None = None
    rx_bytes_per_s: float | None = None
    replays: int | None = None
    errors: dict[str, int] | None = None
    """Error counters by name since the driver was loaded, those the board has."""


class NvLinkPort(Struct, frozen=True, kw_only=True, gc=False):
    """One NVLink of a GPU."""

    index: int
    state: Literal["up", "down"] | None = None
    version: str | None = None
    peer: str | None = None
    """PCI bus id of the other end."""
    peer_type: Literal["gpu", "switch", "cpu"] | None = None
    errors: dict[str, int] | None = None
    """Error counters by name since the driver was loaded, those the board has."""


class NvLink(Struct, frozen=True, kw_only=True):
    """All NVLinks of a GPU; `total` counts the ports the board has wired."""

    active: int | None = None
    total: int | None = None
    tx_bytes_per_s: float | None = None
    rx_bytes_per_s: float | None = None
    links: list[NvLinkPort] | None = None


class Ecc(Struct, frozen=True, kw_only=True, gc=False):
    """Memory errors, summed over the life of the board unless named volatile (since the driver was loaded)."""

    enabled: bool | None = None
    corrected: int | None = None
    uncorrected: int | None = None
    corrected_volatile: int | None = None
    uncorrected_volatile: int | None = None


class RemappedRows(Struct, frozen=True, kw_only=True, gc=False):
    """Memory rows replaced by spares (Ampere and later)."""

    corrected: int | None = None
    uncorrected: int | None = None
    pending: bool | None = None
    failed: bool | None = None


class RetiredPages(Struct, frozen=True, kw_only=True, gc=False):
    """Memory pages taken out of use (before Ampere)."""

    single_bit: int | None = None
    double_bit: int | None = None
    pending: bool | None = None


class MigInstance(Struct, frozen=True, kw_only=True, gc=False):
    """One slice of a GPU in MIG mode."""

    index: int
    uuid: str | None = None
    name: str | None = None
    gpu_instance: int | None = None
    compute_instance: int | None = None
    sm_count: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    sm_activity_pct: float | None = None


class Mig(Struct, frozen=True, kw_only=True):
    """MIG mode of a GPU that has it."""

    enabled: bool
    pending: bool | None = None
    """The mode after the next reset."""
    instances: list[MigInstance] = []


class Fabric(Struct, frozen=True, kw_only=True, gc=False):
    """How far the GPU's registration with the NVSwitch fabric has come."""

    state: str | None = None
    status: str | None = None
    clique: int | None = None
    healthy: bool | None = None


class Xid(Struct, frozen=True, kw_only=True, gc=False):
    """How often one Xid was seen on a GPU since the agent started watching."""

    code: int
    count: int
    last_seen: float
    detail: str | None = None


class Gpu(Struct, frozen=True, kw_only=True):
    """Everything known of one GPU. Percentages are 0 to 100, the rest base units."""

    index: int
    uuid: str
    name: str | None = None
    pci_bus_id: str | None = None
    state: GpuState = "ok"
    problem: str | None = None
    """One sentence where state is not "ok": what happened and what to do."""
    age_s: float | None = None
    """Seconds since the fast values were read; grows while the GPU does not answer."""

    utilization_pct: float | None = None
    memory_utilization_pct: float | None = None
    encoder_pct: float | None = None
    decoder_pct: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    bar1_used_bytes: int | None = None
    bar1_total_bytes: int | None = None

    power_w: float | None = None
    power_instant_w: float | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    power_limit_min_w: float | None = None
    power_limit_max_w: float | None = None
    energy_j: float | None = None

    temperature_c: float | None = None
    memory_temperature_c: float | None = None
    temperature_slowdown_c: float | None = None
    temperature_shutdown_c: float | None = None
    temperature_margin_c: float | None = None
    """Degrees left before the board slows down, where it speaks of a margin (T.Limit)."""
    fan_pct: float | None = None
    fans_pct: list[float | None] | None = None

    sm_clock_mhz: int | None = None
    sm_clock_max_mhz: int | None = None
    memory_clock_mhz: int | None = None
    memory_clock_max_mhz: int | None = None
    pstate: int | None = None
    throttle_reasons: list[str] | None = None
    throttle_seconds: dict[str, float] | None = None

    engine_activity_pct: float | None = None
    """How long the graphics and compute engine had anything to do at all: utilisation as the profiler measures it."""
    sm_activity_pct: float | None = None
    sm_occupancy_pct: float | None = None
    tensor_activity_pct: float | None = None
    dram_activity_pct: float | None = None

    imbalance_score: float | None = None
    """How far this rank is from its group, 0 in step; `None` for a GPU in no working group."""

    pcie: Pcie | None = None
    nvlink: NvLink | None = None
    ecc: Ecc | None = None
    remapped_rows: RemappedRows | None = None
    retired_pages: RetiredPages | None = None
    fabric: Fabric | None = None
    recovery_action: str | None = None
    """The driver's own verdict: none, reset, reboot, drain_p2p, drain_and_reset."""
    xids: list[Xid] | None = None
    mig: Mig | None = None
    numa_node: int | None = None

    architecture: str | None = None
    vbios_version: str | None = None
    serial: str | None = None
    persistence_mode: bool | None = None
    compute_mode: str | None = None
    display_active: bool | None = None

    processes: list[Process] | None = None
    absent: dict[str, Absence] = {}
    """Why a field is null, by its path (`fan_pct`, `pcie.replays`)."""
