"""What the agent asks of hardware, and the raw words it gets back.

Three kinds of hardware answer to these protocols: NVML, simulated machines, recordings. Raw readings hold counters as
the hardware counts them; turning them into rates and sentences is the collectors' work. A field that could not be read
is `None`, and `absent` holds the reason under the field's name. A GPU that can't be read at all raises `DeviceError`.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Ecc, Fabric, Mig, NvLinkPort, RemappedRows, RetiredPages


class Tier(StrEnum):
    """How often something is read."""

    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"


class RawReading(Struct, kw_only=True):
    """The base of all readings."""

    absent: dict[str, Absence] = field(default_factory=dict)


class Identity(RawReading):
    """Facts about a board that do not change while it is there."""

    index: int
    uuid: str
    name: str | None = None
    pci_bus_id: str | None = None
    numa_node: int | None = None
    architecture: str | None = None
    vbios_version: str | None = None
    serial: str | None = None
    sm_clock_max_mhz: int | None = None
    memory_clock_max_mhz: int | None = None


class Activity(RawReading):
    """The driver's utilisation figures, 0 to 100."""

    utilization_pct: float | None = None
    memory_utilization_pct: float | None = None


class Codecs(RawReading):
    """Video engines, 0 to 100."""

    encoder_pct: float | None = None
    decoder_pct: float | None = None


class Memory(RawReading):
    """Frame buffer."""

    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    memory_reserved_bytes: int | None = None


class Bar1(RawReading):
    """The window through which others see the frame buffer."""

    bar1_used_bytes: int | None = None
    bar1_total_bytes: int | None = None


class Power(RawReading):
    """Draw now and energy since the driver was loaded."""

    power_w: float | None = None
    power_instant_w: float | None = None
    energy_j: float | None = None


class Thermals(RawReading):
    """Temperatures now."""

    temperature_c: float | None = None
    memory_temperature_c: float | None = None
    temperature_margin_c: float | None = None


class Limits(RawReading):
    """What the board may draw and how hot it may get: changed by people and by the driver."""

    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    power_limit_min_w: float | None = None
    power_limit_max_w: float | None = None
    temperature_slowdown_c: float | None = None
    temperature_shutdown_c: float | None = None


class Fans(RawReading):
    """All fans of the board, in the driver's order."""

    fans_pct: list[float | None] | None = None


class Clocks(RawReading):
    """Clocks and performance state now."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    pstate: int | None = None


class Throttle(RawReading):
    """Why clocks are held down now, and for how long each reason has held so far."""

    throttle_reasons: list[str] | None = None
    throttle_seconds: dict[str, float] | None = None


class PcieTraffic(RawReading):
    """Byte counters of the PCIe link; `wraps_at` is where the counter starts again."""

    tx_bytes: int | None = None
    rx_bytes: int | None = None
    wraps_at: int | None = None


class PcieLink(RawReading):
    """Generation and width of the link, now and at most."""

    gen: int | None = None
    gen_max: int | None = None
    width: int | None = None
    width_max: int | None = None


class PcieHealth(RawReading):
    """Error counters of the link."""

    replays: int | None = None
    errors: dict[str, int] | None = None


class NvLinkTraffic(RawReading):
    """Byte counters over all NVLinks."""

    tx_bytes: int | None = None
    rx_bytes: int | None = None


class NvLinks(RawReading):
    """Every port; an empty list where the board has no NVLink."""

    links: list[NvLinkPort] | None = None


class Profile(RawReading):
    """How busy the parts of the chip were since the last call, 0 to 100."""

    engine_activity_pct: float | None = None
    sm_activity_pct: float | None = None
    sm_occupancy_pct: float | None = None
    tensor_activity_pct: float | None = None
    dram_activity_pct: float | None = None
    pcie_tx_bytes_per_s: float | None = None
    """PCIe traffic as the profiler counts it; better than the byte counters, which wrap."""
    pcie_rx_bytes_per_s: float | None = None


class MemoryHealth(RawReading):
    """ECC, remapped rows, retired pages."""

    ecc: Ecc | None = None
    remapped_rows: RemappedRows | None = None
    retired_pages: RetiredPages | None = None


class Modes(RawReading):
    """Settings and the driver's own verdict on the board."""

    persistence_mode: bool | None = None
    compute_mode: str | None = None
    display_active: bool | None = None
    fabric: Fabric | None = None
    recovery_action: str | None = None


class MigState(RawReading):
    """MIG mode and instances; `None` where the board has no MIG."""

    mig: Mig | None = None


class GpuProcess(Struct, kw_only=True):
    """A process as the driver lists it: the PID is the host's."""

    pid: int
    kind: str
    memory_bytes: int | None = None
    sm_pct: float | None = None
    gpu_instance: int | None = None


class Processes(RawReading):
    """All processes on a GPU."""

    processes: list[GpuProcess] | None = None


class Placement(RawReading):
    """Where a GPU sits; `ancestors` maps the other GPUs' indices to SYS, NODE, PHB, PXB or PIX."""

    cpu_affinity: str | None = None
    ancestors: dict[int, str] | None = None
    p2p_read: dict[int, str] | None = None
    p2p_write: dict[int, str] | None = None


class XidEvent(Struct, frozen=True, kw_only=True):
    """An Xid as it happened; `gpu` is a UUID or a PCI bus id."""

    gpu: str
    code: int
    at: float
    source: str
    detail: str | None = None


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What the driver says of itself."""

    driver_version: str | None = None
    cuda_version: str | None = None
    simulated: bool = False


class ProcessFacts(Struct, frozen=True, kw_only=True):
    """What the host knows of one process; whatever this user may not see is `None`."""

    pid: int
    ppid: int | None = None
    session: int | None = None
    user: str | None = None
    name: str | None = None
    command: tuple[str, ...] | None = None
    environ: dict[str, str] | None = None
    """Only the variables attribution asks for."""
    cgroup: str | None = None
    started_at: float | None = None
    cpu_s: float | None = None
    rss_bytes: int | None = None
    namespace_pid: int | None = None
    """Its PID as it knows itself, where it lives in a PID namespace of its own and that was asked for."""


class Device(Protocol):
    """One GPU. Calls may block or never return: only a device's own worker makes them."""

    def begin(self, tier: Tier) -> None:
        """Is called before the readings of a tier, so that a driver can fetch them in one batch."""

    def identity(self) -> Identity: ...
    def activity(self) -> Activity: ...
    def codecs(self) -> Codecs: ...
    def memory(self) -> Memory: ...
    def bar1(self) -> Bar1: ...
    def power(self) -> Power: ...
    def thermals(self) -> Thermals: ...
    def limits(self) -> Limits: ...
    def fans(self) -> Fans: ...
    def clocks(self) -> Clocks: ...
    def throttle(self) -> Throttle: ...
    def profile(self) -> Profile: ...
    def pcie_traffic(self) -> PcieTraffic: ...
    def pcie_link(self) -> PcieLink: ...
    def pcie_health(self) -> PcieHealth: ...
    def nvlink_traffic(self) -> NvLinkTraffic: ...
    def nvlinks(self) -> NvLinks: ...
    def memory_health(self) -> MemoryHealth: ...
    def modes(self) -> Modes: ...
    def mig(self) -> MigState: ...
    def processes(self) -> Processes: ...
    def placement(self, others: Sequence["Device"]) -> Placement:
        """How this GPU is joined to each of the others; never asked of a lost GPU."""


class Hardware(Protocol):
    """All GPUs of a node."""

    def open(self) -> None:
        """Start up; raises `DriverUnavailableError` with the reason."""

    def close(self) -> None: ...
    def facts(self) -> NodeFacts: ...
    def devices(self) -> list[Device]:
        """The GPUs there are now; the same object for the same GPU as long as it stays."""

    def watch_xids(self, report: Callable[[XidEvent], None]) -> str | None:
        """Report Xids from a thread of its own until close; gives the reason in words where that can't be done."""

    def process_facts(self, pids: Sequence[int]) -> dict[int, ProcessFacts] | None:
        """Simulated processes and their ancestors; `None` where /proc is to be asked."""
