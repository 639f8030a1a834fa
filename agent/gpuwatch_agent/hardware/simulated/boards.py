"""Boards as data: what each draws, how hot it may get, and what its driver refuses to tell.

Idle figures, limits and refusals are modelled on `nvidia-smi -q` of real boards; the split of a board's draw into
parts is fitted, so that known loads come out at their known watts.
"""

from msgspec import Struct

MIB = 1 << 20
GIB = 1 << 30


class Board(Struct, frozen=True, kw_only=True, gc=False):
    """One kind of GPU; readings a board does not have are `None` or False here."""

    name: str
    architecture: str
    vbios_version: str

    memory_bytes: int
    reserved_bytes: int
    bar1_bytes: int

    sm_clock_max_mhz: int
    sm_clock_boost_mhz: int
    """What it reaches under load when nothing holds it down."""
    sm_clock_idle_mhz: int
    clock_step_mhz: int = 15
    memory_clock_max_mhz: int
    memory_clock_busy_mhz: int
    memory_clock_idle_mhz: int
    pstate_busy: int = 0
    pstate_idle: int = 0

    idle_w: float
    awake_w: float
    """At full clocks with a context, before any work."""
    sm_w: float
    """Added by all SMs at work at the boost clock."""
    memory_w: float
    """Added by memory traffic at its peak."""
    spin_w: float
    """Added by waiting in a collective."""
    leak_w_per_c: float = 0.0
    """Added per degree above 40 °C."""
    power_limit_w: float
    power_limit_min_w: float
    power_limit_max_w: float

    c_per_w: float
    """Degrees above the air for each watt, with the air flowing as it should."""
    thermal_s: float = 20.0
    temperature_throttle_c: float
    """Where the driver starts to lower clocks (sw_thermal)."""
    temperature_slowdown_c: float
    """Where the hardware cuts them (hw_thermal)."""
    temperature_shutdown_c: float
    speaks_margin: bool = False
    has_memory_temperature: bool = False
    memory_warmer_c: float = 8.0
    fans: int = 0

    pcie_gen: int
    pcie_gen_idle: int | None = None
    """The generation it falls to when idle; `None` where it stays."""
    nvlinks: int = 0
    nvlink_version: str | None = None

    has_ecc: bool = False
    has_row_remapping: bool = False
    has_retired_pages: bool = False
    has_gpm: bool = False
    has_fabric: bool = False
    has_mig: bool = False
    has_average_power: bool = True
    has_pcie_counters: bool = True
    throttle_counters: tuple[str, ...] = ("sw_power_cap", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake")
    has_serial: bool = True


H100 = Board(
    name="NVIDIA H100 80GB HBM3",
    architecture="Hopper",
    vbios_version="96.00.99.00.01",
    memory_bytes=81559 * MIB,
    reserved_bytes=480 * MIB,
    bar1_bytes=131072 * MIB,
    sm_clock_max_mhz=1980,
    sm_clock_boost_mhz=1980,
    sm_clock_idle_mhz=345,
    memory_clock_max_mhz=2619,
    memory_clock_busy_mhz=2619,
    memory_clock_idle_mhz=2619,
    idle_w=68,
    awake_w=80,
    sm_w=655,
    memory_w=200,
    spin_w=20,
    leak_w_per_c=1.9,
    power_limit_w=700,
    power_limit_min_w=200,
    power_limit_max_w=700,
    c_per_w=0.0625,
    temperature_throttle_c=87,
    temperature_slowdown_c=89,
    temperature_shutdown_c=95,
    speaks_margin=True,
    has_memory_temperature=True,
    pcie_gen=5,
    nvlinks=18,
    nvlink_version="4.0",
    has_ecc=True,
    has_row_remapping=True,
    has_gpm=True,
    has_fabric=True,
    has_mig=True,
)

H200 = Board(
    name="NVIDIA H200",
    architecture="Hopper",
    vbios_version="96.00.BC.00.01",
    memory_bytes=143771 * MIB,
    reserved_bytes=583 * MIB,
    bar1_bytes=262144 * MIB,
    sm_clock_max_mhz=1980,
    sm_clock_boost_mhz=1980,
    sm_clock_idle_mhz=345,
    memory_clock_max_mhz=3201,
    memory_clock_busy_mhz=3201,
    memory_clock_idle_mhz=3201,
    idle_w=76,
    awake_w=110,
    sm_w=590,
    memory_w=230,
    spin_w=36,
    leak_w_per_c=0.9,
    power_limit_w=700,
    power_limit_min_w=200,
    power_limit_max_w=700,
    c_per_w=0.0600,
    temperature_throttle_c=87,
    temperature_slowdown_c=89,
    temperature_shutdown_c=95,
    speaks_margin=True,
    has_memory_temperature=True,
    pcie_gen=5,
    nvlinks=18,
    nvlink_version="4.0",
    has_ecc=True,
    has_row_remapping=True,
    has_gpm=True,
    has_fabric=True,
    has_mig=True,
)

A100 = Board(
    name="NVIDIA A100-SXM4-80GB",
    architecture="Ampere",
    vbios_version="92.00.45.00.05",
    memory_bytes=81920 * MIB,
    reserved_bytes=635 * MIB,
    bar1_bytes=131072 * MIB,
    sm_clock_max_mhz=1410,
    sm_clock_boost_mhz=1410,
    sm_clock_idle_mhz=210,
    memory_clock_max_mhz=1593,
    memory_clock_busy_mhz=1593,
    memory_clock_idle_mhz=1593,
    idle_w=58,
    awake_w=82,
    sm_w=330,
    memory_w=120,
    spin_w=30,
    leak_w_per_c=0.5,
    power_limit_w=400,
    power_limit_min_w=100,
    power_limit_max_w=400,
    c_per_w=0.090,
    temperature_throttle_c=85,
    temperature_slowdown_c=89,
    temperature_shutdown_c=92,
    has_memory_temperature=True,
    pcie_gen=4,
    nvlinks=12,
    nvlink_version="3.0",
    has_ecc=True,
    has_row_remapping=True,
    has_mig=True,
)

V100 = Board(
    name="Tesla V100-SXM2-32GB",
    architecture="Volta",
    vbios_version="88.00.4F.00.09",
    memory_bytes=32768 * MIB,
    reserved_bytes=275 * MIB,
    bar1_bytes=32768 * MIB,
    sm_clock_max_mhz=1530,
    sm_clock_boost_mhz=1530,
    sm_clock_idle_mhz=135,
    clock_step_mhz=15,
    memory_clock_max_mhz=877,
    memory_clock_busy_mhz=877,
    memory_clock_idle_mhz=877,
    idle_w=42,
    awake_w=58,
    sm_w=245,
    memory_w=65,
    spin_w=12,
    leak_w_per_c=0.4,
    power_limit_w=300,
    power_limit_min_w=150,
    power_limit_max_w=300,
    c_per_w=0.125,
    temperature_throttle_c=83,
    temperature_slowdown_c=87,
    temperature_shutdown_c=90,
    has_memory_temperature=True,
    pcie_gen=3,
    nvlinks=6,
    nvlink_version="2.0",
    has_ecc=True,
    has_retired_pages=True,
    has_average_power=False,
    has_pcie_counters=False,
    throttle_counters=("sw_power_cap", "sync_boost"),
)

RTX_4090 = Board(
    name="NVIDIA GeForce RTX 4090",
    architecture="Ada",
    vbios_version="95.02.3C.00.8C",
    memory_bytes=24564 * MIB,
    reserved_bytes=346 * MIB,
    bar1_bytes=32768 * MIB,
    sm_clock_max_mhz=3105,
    sm_clock_boost_mhz=2730,
    sm_clock_idle_mhz=210,
    memory_clock_max_mhz=10501,
    memory_clock_busy_mhz=10251,
    memory_clock_idle_mhz=405,
    pstate_busy=2,
    pstate_idle=8,
    idle_w=21,
    awake_w=62,
    sm_w=340,
    memory_w=130,
    spin_w=60,
    leak_w_per_c=0.6,
    power_limit_w=450,
    power_limit_min_w=150,
    power_limit_max_w=600,
    c_per_w=0.128,
    temperature_throttle_c=83,
    temperature_slowdown_c=90,
    temperature_shutdown_c=95,
    fans=2,
    pcie_gen=4,
    pcie_gen_idle=1,
    has_serial=False,
)

RTX_3090 = Board(
    name="NVIDIA GeForce RTX 3090",
    architecture="Ampere",
    vbios_version="94.02.71.40.72",
    memory_bytes=24576 * MIB,
    reserved_bytes=316 * MIB,
    bar1_bytes=32768 * MIB,
    sm_clock_max_mhz=2100,
    sm_clock_boost_mhz=1890,
    sm_clock_idle_mhz=210,
    memory_clock_max_mhz=9751,
    memory_clock_busy_mhz=9501,
    memory_clock_idle_mhz=405,
    pstate_busy=2,
    pstate_idle=8,
    idle_w=27,
    awake_w=98,
    sm_w=270,
    memory_w=110,
    spin_w=52,
    leak_w_per_c=0.5,
    power_limit_w=350,
    power_limit_min_w=100,
    power_limit_max_w=375,
    c_per_w=0.105,
    temperature_throttle_c=83,
    temperature_slowdown_c=95,
    temperature_shutdown_c=98,
    fans=2,
    pcie_gen=4,
    pcie_gen_idle=1,
    nvlinks=4,
    nvlink_version="3.1",
    has_serial=False,
)

L4 = Board(
    name="NVIDIA L4",
    architecture="Ada",
    vbios_version="95.04.29.00.06",
    memory_bytes=23034 * MIB,
    reserved_bytes=435 * MIB,
    bar1_bytes=32768 * MIB,
    sm_clock_max_mhz=2040,
    sm_clock_boost_mhz=2040,
    sm_clock_idle_mhz=210,
    memory_clock_max_mhz=6251,
    memory_clock_busy_mhz=6251,
    memory_clock_idle_mhz=405,
    pstate_idle=8,
    idle_w=12,
    awake_w=28,
    sm_w=62,
    memory_w=16,
    spin_w=6,
    leak_w_per_c=0.05,
    power_limit_w=72,
    power_limit_min_w=40,
    power_limit_max_w=72,
    c_per_w=0.55,
    thermal_s=30,
    temperature_throttle_c=85,
    temperature_slowdown_c=87,
    temperature_shutdown_c=90,
    speaks_margin=True,
    pcie_gen=4,
    pcie_gen_idle=1,
    has_ecc=True,
    has_row_remapping=True,
)
