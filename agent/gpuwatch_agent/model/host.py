from msgspec import Struct


class NumaNode(Struct, frozen=True, kw_only=True, gc=False):
    """One memory domain of the host."""

    node: int
    cpus: str | None = None
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None


class Host(Struct, frozen=True, kw_only=True):
    """The machine around the GPUs."""

    uptime_s: float | None = None
    cpu_count: int | None = None
    cpu_pct: float | None = None
    load_1m: float | None = None
    load_5m: float | None = None
    load_15m: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    disk_read_bytes_per_s: float | None = None
    disk_write_bytes_per_s: float | None = None
    network_rx_bytes_per_s: float | None = None
    network_tx_bytes_per_s: float | None = None
    numa_nodes: list[NumaNode] | None = None
