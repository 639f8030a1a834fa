"""Boards as their own captures show them: numbers, and what each kind can't say at all."""

from dataclasses import dataclass, field

MIB = 1 << 20

ECC_EVENTS = 0x1 | 0x2
XID_EVENTS = 0x8


@dataclass(frozen=True, kw_only=True)
class Board:
    """What one kind of board is; a field that is None is "not supported" there."""

    name: str
    brand: int
    architecture: int
    compute_capability: tuple[int, int]
    vbios_version: str
    pci_device_id: int
    buses: tuple[int, ...]
    memory_mib: int
    reserved_mib: int
    bar1_mib: int
    cores: int
    memory_bus_bits: int
    power_w: tuple[int, int, int]
    """Least limit, default limit, idle draw."""
    sm_clock_mhz: tuple[int, int]
    """Idle and at most."""
    memory_clock_mhz: tuple[int, int]
    pcie_gen: int
    pcie_width: tuple[int, int] = (16, 16)
    """Now and at most."""
    serial: bool = True
    ecc: bool = True
    memory_temperature: bool = True
    average_power: bool = True
    thresholds_c: dict[int, int] | None = None
    """Shutdown 0, slowdown 1, memory 2, GPU 3: boards that speak in degrees."""
    t_limits_c: dict[int, int] | None = None
    """Field ids 193 to 196: boards that speak in offsets of a margin."""
    hottest_c: int = 87
    fans: int = 0
    retired_pages: bool = False
    remapped_rows: bool = False
    mig: bool = False
    gpm: bool = False
    fabric: bool = False
    nvlink_version: int = 0
    nvlink_mbps: int = 0
    nvlinks: int = 0
    nvlink_mesh: tuple[tuple[int, ...], ...] | None = None
    """Peers of each GPU, link by link; without it all links end in switches."""
    ancestor_same_numa: int = 40
    p2p: bool = True
    numa_nodes: int = 1
    display_active: bool = False
    events: int = ECC_EVENTS | XID_EVENTS
    extra: dict[str, int] = field(default_factory=dict)


# Which peer each of the six links of a DGX-1V's GPUs ends at.
HYBRID_CUBE_MESH = (
    (1, 2, 3, 3, 4, 4),
    (0, 2, 2, 3, 5, 5),
    (0, 1, 1, 3, 3, 6),
    (0, 0, 1, 2, 2, 7),
    (0, 0, 5, 6, 7, 7),
    (1, 1, 4, 6, 6, 7),
    (2, 4, 5, 5, 7, 7),
    (3, 4, 4, 5, 6, 6),
)

BOARDS = {
    "h100": Board(
        name="NVIDIA H100 80GB HBM3",
        brand=14,
        architecture=9,
        compute_capability=(9, 0),
        vbios_version="96.00.99.00.01",
        pci_device_id=0x233010DE,
        buses=(0x53, 0x64, 0x75, 0x86, 0x97, 0xA8, 0xB9, 0xCA),
        memory_mib=81559,
        reserved_mib=480,
        bar1_mib=131072,
        cores=16896,
        memory_bus_bits=5120,
        power_w=(200, 700, 68),
        sm_clock_mhz=(345, 1980),
        memory_clock_mhz=(2619, 2619),
        pcie_gen=5,
        t_limits_c={193: -8, 194: -2, 195: 0, 196: 0},
        remapped_rows=True,
        mig=True,
        gpm=True,
        fabric=True,
        nvlink_version=6,
        nvlink_mbps=26562,
        nvlinks=18,
        numa_nodes=2,
    ),
    "a100": Board(
        name="NVIDIA A100-SXM4-80GB",
        brand=14,
        architecture=7,
        compute_capability=(8, 0),
        vbios_version="92.00.45.00.03",
        pci_device_id=0x20B210DE,
        buses=(0x07, 0x0F, 0x47, 0x4E, 0x87, 0x90, 0xB7, 0xBD),
        memory_mib=81920,
        reserved_mib=869,
        bar1_mib=131072,
        cores=6912,
        memory_bus_bits=5120,
        power_w=(100, 400, 61),
        sm_clock_mhz=(210, 1410),
        memory_clock_mhz=(1593, 1593),
        pcie_gen=4,
        thresholds_c={0: 92, 1: 89, 2: 95, 3: 85},
        hottest_c=85,
        remapped_rows=True,
        mig=True,
        nvlink_version=4,
        nvlink_mbps=25000,
        nvlinks=12,
        numa_nodes=2,
    ),
    "v100": Board(
        name="Tesla V100-SXM2-32GB",
        brand=2,
        architecture=5,
        compute_capability=(7, 0),
        vbios_version="88.00.48.00.02",
        pci_device_id=0x1DB510DE,
        buses=(0x06, 0x07, 0x0A, 0x0B, 0x85, 0x86, 0x89, 0x8A),
        memory_mib=32768,
        reserved_mib=258,
        bar1_mib=32768,
        cores=5120,
        memory_bus_bits=4096,
        power_w=(150, 300, 43),
        sm_clock_mhz=(135, 1530),
        memory_clock_mhz=(877, 877),
        pcie_gen=3,
        average_power=False,
        thresholds_c={0: 90, 1: 87, 2: 85, 3: 83},
        hottest_c=83,
        retired_pages=True,
        nvlink_version=2,
        nvlink_mbps=25781,
        nvlinks=6,
        nvlink_mesh=HYBRID_CUBE_MESH,
        numa_nodes=2,
    ),
    "t4": Board(
        name="Tesla T4",
        brand=14,
        architecture=6,
        compute_capability=(7, 5),
        vbios_version="90.04.96.00.02",
        pci_device_id=0x1EB810DE,
        buses=(0x3B, 0x5E, 0xAF, 0xD8),
        memory_mib=15360,
        reserved_mib=448,
        bar1_mib=256,
        cores=2560,
        memory_bus_bits=256,
        power_w=(60, 70, 33),
        sm_clock_mhz=(300, 1590),
        memory_clock_mhz=(405, 5000),
        pcie_gen=3,
        pcie_width=(8, 16),
        memory_temperature=False,
        average_power=False,
        thresholds_c={0: 96, 1: 93, 3: 85},
        hottest_c=85,
        retired_pages=True,
    ),
    "rtx4090": Board(
        name="NVIDIA GeForce RTX 4090",
        brand=5,
        architecture=8,
        compute_capability=(8, 9),
        vbios_version="95.02.3C.80.9C",
        pci_device_id=0x268410DE,
        buses=(0x01, 0x41, 0x81, 0xC1),
        memory_mib=24564,
        reserved_mib=316,
        bar1_mib=32768,
        cores=16384,
        memory_bus_bits=384,
        power_w=(150, 450, 22),
        sm_clock_mhz=(210, 3105),
        memory_clock_mhz=(405, 10501),
        pcie_gen=4,
        serial=False,
        ecc=False,
        memory_temperature=False,
        t_limits_c={193: -7, 194: -2, 196: 0},
        hottest_c=90,
        fans=2,
        ancestor_same_numa=30,
        p2p=False,
        display_active=True,
        events=XID_EVENTS,
    ),
}
