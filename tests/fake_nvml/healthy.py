"""A healthy board at work: the values every scenario starts from."""

from fake_nvml.boards import MIB, Board
from fake_nvml.gpu import ALL_LINKS, THROTTLE_FIELDS, Gpu
from fake_nvml.values import Value, counter, wave

SWITCH_BUSES = (0x05, 0x06, 0x07, 0x08)
P2P_NVLINK = 2
P2P_NOT_SUPPORTED = 5
P2P_CHIPSET_NOT_SUPPORTED = 1
P2P_TOPOLOGY_NOT_SUPPORTED = 3
ALL_THROTTLE_REASONS = 0x1FF


def bus_id(bus: int, domain: int = 0) -> str:
    """A PCI address as NVML writes it."""
    return f"{domain:08X}:{bus:02X}:00.0"


def board_bus_id(board: Board, slot: int) -> str:
    """Boards past the known slots sit in further PCI domains."""
    return bus_id(board.buses[slot % len(board.buses)], slot // len(board.buses))


def healthy_gpu(board: Board, slot: int, count: int, now: float) -> Gpu:
    """A board at work in a node of `count` of them."""
    gpu = Gpu(board=board, slot=slot, started_at=now)
    numa_node = slot * board.numa_nodes // max(count, 1)
    _identity(gpu, numa_node)
    _memory(gpu)
    _power(gpu)
    _heat_and_clocks(gpu)
    _pcie(gpu)
    _health(gpu)
    _modes(gpu)
    _places(gpu, count, numa_node)
    if board.nvlinks:
        _nvlinks(gpu)
    if board.gpm:
        _gpm(gpu)
    return gpu


def _identity(gpu: Gpu, numa_node: int) -> None:
    board = gpu.board
    gpu.put("uuid", f"GPU-{gpu.slot:08x}-1111-4222-8333-444444444444").put("name", board.name)
    gpu.put("slot", gpu.slot).put("minor_number", gpu.slot).put("brand", board.brand)
    gpu.put("architecture", board.architecture).put("vbios_version", board.vbios_version)
    gpu.put("compute_capability_major", board.compute_capability[0])
    gpu.put("compute_capability_minor", board.compute_capability[1])
    gpu.put("pci_bus_id", board_bus_id(board, gpu.slot)).put("pci_device_id", board.pci_device_id)
    gpu.put("cores", board.cores).put("memory_bus_width", board.memory_bus_bits).put("multi_gpu_board", 0)
    gpu.put("numa_node", numa_node)
    if board.serial:
        gpu.put("serial", f"16500000{gpu.slot:05d}")


def _memory(gpu: Gpu) -> None:
    board = gpu.board
    gpu.put("memory_total", board.memory_mib * MIB).put("memory_reserved", board.reserved_mib * MIB)
    gpu.put("memory_used", board.memory_mib * MIB * 7 // 10)
    gpu.put("bar1_total", board.bar1_mib * MIB).put("bar1_used", MIB)


def _power(gpu: Gpu) -> None:
    least_w, default_w, _ = gpu.board.power_w
    gpu.put("min_power_limit_mw", least_w * 1000).put("max_power_limit_mw", default_w * 1000)
    gpu.put("default_power_limit_mw", default_w * 1000).power_limit(default_w).put("power_management", 1)
    gpu.put("energy_mj", counter(120_000_000_000 + gpu.slot, 0.0, gpu.started_at))
    gpu.power(wave(default_w * 0.78, default_w * 0.02, 11.0, gpu.slot))
    if not gpu.board.average_power:
        gpu.put("field/185", Value("e", 3))


def _heat_and_clocks(gpu: Gpu) -> None:
    board = gpu.board
    gpu.temperature(58 + gpu.slot % 4)
    if board.memory_temperature:
        gpu.put("field/82", 66 + gpu.slot % 4)
    for threshold, degrees in (board.thresholds_c or {}).items():
        gpu.put(f"temperature_threshold_c/{threshold}", degrees)
    for field_id, offset in (board.t_limits_c or {}).items():
        gpu.put(f"field/{field_id}", offset)
    if board.fans:
        gpu.fan(*[45] * board.fans)
    sm_mhz, memory_mhz = board.sm_clock_mhz[1], board.memory_clock_mhz[1]
    for kind, most in enumerate((sm_mhz, sm_mhz, memory_mhz, sm_mhz * 3 // 4)):
        gpu.put(f"max_clock_mhz/{kind}", most).put(f"clock_mhz/{kind}", most).put(
            f"applications_clock_mhz/{kind}", most
        )
    gpu.put("pstate", 0).put("supported_throttle_reasons", ALL_THROTTLE_REASONS)
    for reason, field_id in THROTTLE_FIELDS.items():
        base_ns = 7_015_662_857_000 if reason == "sw_power_cap" else 0
        gpu.put(f"field/{field_id}", counter(base_ns, 0.0, gpu.started_at))
    for policy in range(4):
        gpu.put(f"violation_ns/{policy}", 0)
    gpu.throttle().utilization(wave(91, 4, 9.0, gpu.slot), wave(42, 3, 9.0, gpu.slot))
    for key in ("encoder_pct", "decoder_pct", "jpeg_pct", "ofa_pct"):
        gpu.put(key, 0)
    gpu.put("codec_sampling_us", 167_000)


def _pcie(gpu: Gpu) -> None:
    board = gpu.board
    gpu.put("pcie_gen", board.pcie_gen).put("pcie_gen_max", board.pcie_gen).put("pcie_gen_gpu_max", board.pcie_gen)
    gpu.put("pcie_width", board.pcie_width[0]).put("pcie_width_max", board.pcie_width[1])
    gpu.put("pcie_speed_mbps", 1000 * 2**board.pcie_gen).put("pcie_replays", 140 + gpu.slot)
    for direction, bytes_per_s in enumerate((502_000, 578_000)):
        gpu.put(f"pcie_throughput_kb/{direction}", bytes_per_s // 1000)
        gpu.put(f"field/{197 + direction}", counter(1_000_000, bytes_per_s, gpu.started_at, "u"))
    for field_id in range(173, 184):
        gpu.put(f"field/{field_id}", 0)


def _health(gpu: Gpu) -> None:
    board = gpu.board
    gpu.put("ecc_mode", int(board.ecc)).put("ecc_mode_pending", int(board.ecc))
    if board.ecc:
        gpu.ecc().ecc(aggregate=True)
        for memory_error in range(4):
            gpu.put(f"memory_errors/{memory_error}/2", 0).put(f"memory_errors/{memory_error}/7", 0)
    if board.remapped_rows:
        gpu.remapped_rows().put("row_remapper_banks", 2560)
    if board.retired_pages:
        gpu.put("retired_pages/0", 0).put("retired_pages/1", 0).put("retired_pages_pending", 0)


def _modes(gpu: Gpu) -> None:
    board = gpu.board
    gpu.put("persistence_mode", 1).put("compute_mode", 0).put("accounting_mode", 0)
    gpu.put("display_active", int(board.display_active)).put("display_mode", int(board.display_active))
    gpu.put("event_types", board.events).put("processes", 1).put("process_utilization", 1)
    gpu.put("gpm_supported", int(board.gpm)).put("field/230", 0)
    if board.mig:
        gpu.put("mig_mode", 0).put("mig_mode_pending", 0).put("max_mig_instances", 7)
    if board.fabric:
        gpu.fabric()


def _places(gpu: Gpu, count: int, numa_node: int) -> None:
    board = gpu.board
    for word in range(2):
        gpu.put(f"cpu_affinity/{word}", 0xFFFF_FFFF_FFFF_FFFF if board.numa_nodes == 1 or word == numa_node else 0)
    gpu.put("memory_affinity/0", 1 << numa_node)
    for other in range(count):
        if other == gpu.slot:
            continue
        same_numa = other * board.numa_nodes // count == numa_node
        gpu.put(f"ancestor/{other}", board.ancestor_same_numa if same_numa else 50)
        gpu.put(f"p2p_status/{other}", _p2p_status(board, gpu.slot, other))
        if not board.nvlinks:
            gpu.put(f"p2p_status/{other}/{P2P_NVLINK}", P2P_NOT_SUPPORTED)


def _p2p_status(board: Board, slot: int, other: int) -> int:
    if not board.p2p:
        return P2P_CHIPSET_NOT_SUPPORTED
    if board.nvlink_mesh and other not in board.nvlink_mesh[slot]:
        return P2P_TOPOLOGY_NOT_SUPPORTED
    return 0


def _nvlinks(gpu: Gpu) -> None:
    board = gpu.board
    kib_per_s = 900_000
    gpu.put("field/91", board.nvlinks)
    for link in range(board.nvlinks):
        peer = board.nvlink_mesh[gpu.slot][link] if board.nvlink_mesh else None
        far = bus_id(SWITCH_BUSES[link % 4]) if peer is None else board_bus_id(board, peer)
        gpu.put(f"nvlink_state/{link}", 1).put(f"nvlink_version/{link}", board.nvlink_version)
        gpu.put(f"nvlink_remote_pci/{link}", far).put(f"nvlink_remote_type/{link}", 2 if peer is None else 0)
        gpu.put(f"nvlink_capability/{link}", 1).put(f"nvlink_errors/{link}", 0)
        gpu.put(f"field/164/{link}", board.nvlink_mbps).put(f"field/165/{link}", 1)
        gpu.put(f"field/166/{link}", board.nvlink_version)
        for field_id in (138, 139):
            gpu.put(f"field/{field_id}/{link}", counter(5_000_000, kib_per_s, gpu.started_at))
    for field_id in (138, 139):
        total = counter(5_000_000 * board.nvlinks, kib_per_s * board.nvlinks, gpu.started_at)
        gpu.put(f"field/{field_id}/{ALL_LINKS}", total)
    # Hopper and later answer the old error fields with success and zero, whatever happens on the links.
    for field_id in (38, 45, 52, 59, 160):
        gpu.put(f"field/{field_id}", 0)


def _gpm(gpu: Gpu) -> None:
    for metric, percent in {1: 91.0, 2: 78.0, 3: 31.0, 5: 46.0, 7: 44.0, 10: 52.0, 20: 480.0, 21: 550.0}.items():
        gpu.put(f"gpm/{metric}", wave(percent, percent * 0.03, 9.0, gpu.slot)._replace(kind="d"))
