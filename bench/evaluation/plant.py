"""Boards of our own making, with physics of their own: for worlds that the product's simulator does not know.

What the literature says of ranks that wait is built in: they hold a kernel on the chip (100 % busy), draw a quarter to
a half of their limit, and touch little memory. Constants are this file's own and go nowhere else.
"""

import math
import random

from msgspec import Struct

from gpuwatch_agent.model.gpu import Ecc, Gpu, NvLink, NvLinkPort, Pcie, RemappedRows
from gpuwatch_agent.model.process import Process

GIB = 1 << 30


class Make(Struct, frozen=True, kw_only=True):
    """One model of board."""

    name: str
    architecture: str
    memory_gib: int
    limit_w: float
    idle_w: float
    context_w: float
    """At full clocks with nothing to do."""
    spin_part: float
    """Of the limit, drawn by a rank that only waits."""
    clock_mhz: int
    clock_idle_mhz: int
    memory_clock_mhz: int
    slowdown_c: float
    shutdown_c: float
    warms_c: float
    """Above the air, at the limit."""
    warm_s: float
    margin: bool
    memory_sensor: bool
    fans: int
    links: int
    lanes: int
    generation: int
    generation_idle: int
    profile: bool
    ecc: bool


def _make(name: str, architecture: str, **given: object) -> Make:
    usual: dict[str, object] = {
        "context_w": 75.0, "spin_part": 0.36, "clock_idle_mhz": 300, "slowdown_c": 88.0, "shutdown_c": 94.0,
        "warms_c": 38.0, "warm_s": 28.0, "margin": False, "memory_sensor": False, "fans": 0, "links": 0, "lanes": 16,
        "generation": 4, "generation_idle": 4, "profile": False, "ecc": True, "memory_clock_mhz": 2600,
    }  # fmt: skip
    return Make(name=name, architecture=architecture, **{**usual, **given})  # type: ignore[arg-type]  # checked by tests


MAKES = (
    _make("NVIDIA H200 NVL", "Hopper", memory_gib=141, limit_w=600.0, idle_w=70.0, clock_mhz=1785, links=18, generation=5,
          generation_idle=5, profile=True, margin=True, memory_sensor=True, spin_part=0.3, context_w=105.0),
    _make("NVIDIA H100 PCIe", "Hopper", memory_gib=80, limit_w=350.0, idle_w=48.0, clock_mhz=1755, generation=5,
          generation_idle=5, profile=True, margin=True, memory_sensor=True),
    _make("NVIDIA B200", "Blackwell", memory_gib=180, limit_w=1000.0, idle_w=140.0, clock_mhz=1965, links=18, generation=5,
          generation_idle=5, profile=True, margin=True, memory_sensor=True, spin_part=0.28, context_w=190.0),
    _make("NVIDIA A100-SXM4-40GB", "Ampere", memory_gib=40, limit_w=400.0, idle_w=52.0, clock_mhz=1410, links=12,
          memory_sensor=True, spin_part=0.32, slowdown_c=89.0),
    _make("NVIDIA L40S", "Ada", memory_gib=48, limit_w=350.0, idle_w=34.0, clock_mhz=2520, lanes=16, generation_idle=1,
          margin=True, memory_sensor=False),
    _make("NVIDIA A10", "Ampere", memory_gib=24, limit_w=150.0, idle_w=16.0, context_w=34.0, clock_mhz=1695,
          generation_idle=1, slowdown_c=95.0),
    _make("NVIDIA GeForce RTX 5090", "Blackwell", memory_gib=32, limit_w=575.0, idle_w=26.0, clock_mhz=2850, fans=2,
          generation=5, generation_idle=1, slowdown_c=90.0, spin_part=0.4, ecc=False),
    _make("Tesla V100-SXM2-16GB", "Volta", memory_gib=16, limit_w=300.0, idle_w=41.0, clock_mhz=1530, links=6, generation=3,
          generation_idle=3, spin_part=0.24, context_w=56.0, slowdown_c=87.0),
)  # fmt: skip


class Activity:
    """What one board does in one second."""

    __slots__ = ("awake", "busy", "compute", "link", "memory_bytes", "memory_traffic", "pcie_rx", "pcie_tx", "spin")

    def __init__(self) -> None:
        self.busy = 0.0
        """The part of the time in which a kernel is there, working or waiting."""
        self.compute = 0.0
        self.spin = 0.0
        self.memory_traffic = 0.0
        self.link = 0.0
        self.pcie_tx = 0.0
        self.pcie_rx = 0.0
        self.memory_bytes = 0
        self.awake = True
        """Whether a context keeps the clocks up."""


class Ailment(Struct, kw_only=True):
    """What is wrong with a board at present."""

    clock_ceiling: float = 1.0
    reasons: tuple[str, ...] = ()
    blocked_air: float = 0.0
    limit_w: float | None = None
    lanes: int | None = None
    generation: int | None = None
    links_down: frozenset[int] = frozenset()


class Card:
    """One board over time."""

    def __init__(self, make: Make, index: int, chance: random.Random, *, lanes: int | None = None) -> None:
        self.make = make
        self.index = index
        self.ails = Ailment()
        self.clock = 1.0
        self.reasons: tuple[str, ...] = ()
        self._chance = chance
        self._uuid = f"GPU-{chance.getrandbits(64):016x}"
        self._air_c = chance.uniform(20.0, 32.0)
        self._appetite = chance.gauss(1.0, 0.025)
        self._wobble = 0.0
        self._lanes = lanes if lanes is not None else make.lanes
        self.power_w = make.idle_w
        self.degrees = self._air_c + 8.0
        self._energy_j = chance.uniform(1e6, 1e10)
        self._replays = chance.choice((0, 2, 150, 4_000))
        self._corrected = chance.choice((0, 0, 3, 81))
        self._throttled = {
            "sw_power_cap": chance.uniform(0.0, 9_000.0),
            "sync_boost": 0.0,
            "sw_thermal": chance.choice((0.0, 0.0, 640.0)),
            "hw_thermal": chance.choice((0.0, 0.0, 12.0)),
            "hw_power_brake": 0.0,
        }
        self.vbios = "96.00.61.00.01"
        self.display = False
        self.ports: list[NvLinkPort] | None = None

    @property
    def uuid(self) -> str:
        return self._uuid

    def settle(self, activity: Activity, seconds: int = 120) -> None:
        """So warm as it gets when this goes on."""
        for _ in range(seconds):
            self.step(activity)

    def step(self, activity: Activity) -> None:
        """One second more."""
        make, ails = self.make, self.ails
        limit = ails.limit_w if ails.limit_w is not None else make.limit_w
        reasons = list(ails.reasons)
        ceiling = ails.clock_ceiling
        excess = self.degrees - (make.slowdown_c - 3.0)
        if excess > 0.0:
            ceiling = min(ceiling, max(0.3, 1.0 - 0.11 * excess))
            reasons.append("sw_thermal")
        if self.degrees >= make.slowdown_c + 1.0:
            ceiling = min(ceiling, 0.45)
            reasons += ["hw_slowdown", "hw_thermal"]
        wanted = self._draw(activity, ceiling)
        clock = ceiling
        if wanted > limit:
            clock = max(0.25, ceiling * (limit / wanted) ** 0.6)
            wanted = min(wanted, limit)
            reasons.append("sw_power_cap")
        self.clock += (clock - self.clock) * (0.9 if clock < self.clock else 0.5)
        if not activity.awake:
            reasons = ["idle"]
        self.reasons = tuple(dict.fromkeys(reasons))
        self._wobble = 0.8 * self._wobble + self._chance.gauss(0.0, 0.004)
        self.power_w += (wanted * (1.0 + self._wobble) - self.power_w) * 0.7
        self._energy_j += self.power_w
        for reason in self.reasons:
            if reason in self._throttled:
                self._throttled[reason] += 1.0
        rise = make.warms_c * self.power_w / make.limit_w / max(0.1, 1.0 - ails.blocked_air)
        self.degrees += (self._air_c + rise - self.degrees) / make.warm_s
        self.degrees = min(self.degrees, make.shutdown_c - 0.5)

    def _draw(self, activity: Activity, clock: float) -> float:
        make = self.make
        if not activity.awake:
            return make.idle_w
        room = make.limit_w - make.context_w
        spun = (make.spin_part * make.limit_w - make.context_w) * activity.spin
        worked = room * (0.72 * activity.compute * clock**1.7 + 0.34 * activity.memory_traffic)
        return float(make.context_w + (max(0.0, spun) * clock + worked) * self._appetite)

    def row(self, activity: Activity, processes: list[Process] | None) -> Gpu:
        """What the agent would say of it."""
        make, ails = self.make, self.ails
        at_rest = not activity.awake
        limit = ails.limit_w if ails.limit_w is not None else make.limit_w
        generation = make.generation_idle if at_rest else min(make.generation, ails.generation or make.generation)
        profile = make.profile and not at_rest
        used = activity.memory_bytes + int(0.45 * GIB)
        return Gpu(
            index=self.index,
            uuid=self._uuid,
            name=make.name,
            pci_bus_id=f"00000000:{0x10 + 9 * self.index:02X}:00.0",
            architecture=make.architecture,
            vbios_version=self.vbios,
            age_s=0.0,
            numa_node=self.index // 4,
            display_active=self.display,
            persistence_mode=make.fans == 0,
            compute_mode="default",
            utilization_pct=float(round(100.0 * min(1.0, activity.busy))),
            memory_utilization_pct=float(round(85.0 * min(1.0, activity.memory_traffic))),
            memory_used_bytes=min(used, make.memory_gib * GIB),
            memory_total_bytes=make.memory_gib * GIB,
            memory_reserved_bytes=int(0.4 * GIB),
            power_w=round(self.power_w, 2),
            power_instant_w=round(self.power_w, 2) if make.architecture != "Volta" else None,
            power_limit_w=limit,
            power_limit_default_w=make.limit_w,
            power_limit_min_w=make.limit_w * 0.3,
            power_limit_max_w=make.limit_w,
            energy_j=round(self._energy_j, 1),
            temperature_c=float(round(self.degrees)),
            memory_temperature_c=float(round(self.degrees + 6.0)) if make.memory_sensor else None,
            temperature_slowdown_c=make.slowdown_c,
            temperature_shutdown_c=make.shutdown_c,
            temperature_margin_c=make.slowdown_c - 3.0 - round(self.degrees) if make.margin else None,
            fan_pct=self._fan(),
            fans_pct=[self._fan()] * make.fans if make.fans else None,
            sm_clock_mhz=make.clock_idle_mhz if at_rest else 15 * round(make.clock_mhz * self.clock / 15),
            sm_clock_max_mhz=make.clock_mhz + (60 if make.fans else 0),
            memory_clock_mhz=405 if at_rest and make.fans else make.memory_clock_mhz,
            memory_clock_max_mhz=make.memory_clock_mhz,
            pstate=8 if at_rest and make.generation_idle < make.generation else 0,
            throttle_reasons=list(self.reasons),
            throttle_seconds=dict(self._throttled),
            sm_activity_pct=round(100 * min(1.0, 0.85 * activity.compute + 0.12 * activity.spin), 1)
            if profile
            else None,
            sm_occupancy_pct=round(100 * min(1.0, 0.4 * activity.compute + 0.03 * activity.spin), 1)
            if profile
            else None,
            tensor_activity_pct=round(100 * min(1.0, 0.45 * activity.compute), 1) if profile else None,
            dram_activity_pct=round(100 * min(1.0, 0.9 * activity.memory_traffic), 1) if profile else None,
            pcie=Pcie(
                gen=generation,
                gen_max=make.generation,
                width=min(self._lanes, ails.lanes or self._lanes),
                width_max=make.lanes,
                tx_bytes_per_s=activity.pcie_tx,
                rx_bytes_per_s=activity.pcie_rx,
                replays=self._replays,
            ),
            nvlink=self._nvlink(activity),
            ecc=Ecc(
                enabled=True, corrected=self._corrected, uncorrected=0, corrected_volatile=0, uncorrected_volatile=0
            )
            if make.ecc
            else None,
            remapped_rows=RemappedRows(corrected=self._corrected // 40, uncorrected=0, pending=False, failed=False)
            if make.ecc and make.architecture != "Volta"
            else None,
            recovery_action="none",
            processes=processes,
        )

    def _fan(self) -> float | None:
        if not self.make.fans:
            return None
        return 0.0 if self.degrees < 50.0 else float(round(min(100.0, 30.0 + 2.0 * (self.degrees - 50.0))))

    def _nvlink(self, activity: Activity) -> NvLink | None:
        if self.ports is None:
            return None
        links = [
            port
            if port.index not in self.ails.links_down
            else NvLinkPort(index=port.index, state="down", version=port.version)
            for port in self.ports
        ]
        active = sum(port.state == "up" for port in links)
        return NvLink(
            active=active,
            total=len(links),
            tx_bytes_per_s=activity.link,
            rx_bytes_per_s=activity.link,
            links=links,
        )


def wire(cards: list[Card], *, pairs: bool = False) -> None:
    """Join the boards by switches, or two by two; boards without links stay as they are."""
    for card in cards:
        if not card.make.links:
            continue
        other = cards[card.index ^ 1] if (card.index ^ 1) < len(cards) else None
        card.ports = [
            NvLinkPort(
                index=link,
                state="up" if not pairs or other is not None else "down",
                version="4.0",
                peer=(f"00000000:{0x10 + 9 * other.index:02X}:00.0" if other is not None else None)
                if pairs
                else f"00000000:E{link % 4}:00.0",
                peer_type=("gpu" if other is not None else None) if pairs else "switch",
                errors={"replay": 0, "recovery": 0, "crc_flit": 0, "crc_data": 0},
            )
            for link in range(card.make.links)
        ]


def wave(second: int, period_s: float, phase: float) -> float:
    """Between -1 and 1."""
    return math.sin(math.tau * (second / period_s + phase))
