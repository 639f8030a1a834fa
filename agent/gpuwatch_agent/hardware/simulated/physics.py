"""One GPU over time: load makes power, power makes heat, heat and limits lower the clock, the clock makes the pace."""

import math

from gpuwatch_agent.hardware.simulated.boards import Board
from gpuwatch_agent.hardware.simulated.conditions import Conditions
from gpuwatch_agent.hardware.simulated.workload import Demand, Speed

# Between linear (voltage at its floor) and cubic (voltage follows); fitted to watts at half and full clocks.
_POWER_BY_CLOCK = 1.1
_LOWEST_CLOCK = 0.16
# A hardware slowdown swallows clock pulses that the clock reading still counts.
_PULSES_LEFT_WHEN_HOT = 0.9
_BRAKED_CLOCK = 0.5
# Below this part of the airflow the heat sink radiates rather than blows.
_STILL_AIR = 0.12
_AWAKE_UTILIZATION = 0.004


class Gpu:
    """The state of one board, and its counters since the driver was loaded."""

    __slots__ = (
        "active",
        "board",
        "clock",
        "correctable",
        "energy_j",
        "fan",
        "hot",
        "inlet_c",
        "link_errors",
        "nvlink_bytes",
        "pcie_bytes",
        "pcie_errors",
        "power_before_w",
        "power_w",
        "reasons",
        "temperature_c",
        "throttle_s",
        "uncorrectable",
    )

    def __init__(self, board: Board, inlet_c: float) -> None:
        self.board = board
        self.inlet_c = inlet_c
        self.temperature_c = inlet_c + 0.62 * board.power_limit_w * board.c_per_w
        self.power_w = self.power_before_w = 0.6 * board.power_limit_w
        self.clock = 1.0
        """SM clock against the boost clock."""
        self.fan = 0.5
        self.hot = False
        self.active = True
        self.reasons: tuple[str, ...] = ()
        self.energy_j = 0.0
        self.throttle_s = dict.fromkeys(board.throttle_counters, 0.0)
        self.nvlink_bytes = 0.0
        self.pcie_bytes = 0.0
        self.pcie_errors = 0.0
        self.link_errors = 0.0
        self.correctable = 0.0
        self.uncorrectable = 0

    def step(self, length_s: float, demand: Demand, now: Conditions, speed: Speed) -> None:
        """Set what holds from here on for `length_s` seconds; the counters are moved on by `integrate`."""
        board = self.board
        self.active = demand.utilization > _AWAKE_UTILIZATION
        reasons: list[str] = []
        ceiling = self._ceiling(now, reasons)
        limit_w = now.power_limit_w if now.power_limit_w is not None else board.power_limit_w
        leak = board.leak_w_per_c * max(0.0, self.temperature_c - 40.0)
        if self.active:
            still = board.awake_w + leak + board.memory_w * min(1.0, demand.dram)
            moving = board.sm_w * demand.heat + board.spin_w * demand.spin
            target = ceiling
            if still + moving * target**_POWER_BY_CLOCK > limit_w:
                left = max(0.0, limit_w - still) / max(1.0, moving)
                target = min(ceiling, max(_LOWEST_CLOCK, left ** (1.0 / _POWER_BY_CLOCK)))
                if target < ceiling - 0.004:
                    reasons.append("sw_power_cap")
            # Clocks go down at once and come back in steps.
            self.clock = target if target < self.clock else target + (self.clock - target) * math.exp(-length_s / 1.5)
            drawn = still + moving * self.clock**_POWER_BY_CLOCK
        else:
            self.clock = 1.0
            reasons = ["idle"]
            drawn = board.idle_w + 0.5 * leak
        self.power_before_w = self.power_w
        self.power_w = drawn
        self.reasons = tuple(reasons)
        speed.clock = self.clock * (_PULSES_LEFT_WHEN_HOT if self.hot and self.active else 1.0)
        self._heat(length_s, now)

    def _ceiling(self, now: Conditions, reasons: list[str]) -> float:
        """The highest clock that heat and the power brake allow."""
        board = self.board
        ceiling = 1.0
        excess = self.temperature_c - board.temperature_throttle_c
        window = board.temperature_slowdown_c - board.temperature_throttle_c
        if excess > 0.0:
            ceiling = max(_LOWEST_CLOCK, 1.0 - 0.48 * excess / window)
            reasons.append("sw_thermal")
        if self.temperature_c >= board.temperature_slowdown_c:
            self.hot = True
        elif self.temperature_c < board.temperature_slowdown_c - 0.18 * window:
            self.hot = False
        if self.hot:
            ceiling *= 0.9
            reasons += ["hw_slowdown", "hw_thermal"]
        if now.power_brake:
            ceiling = min(ceiling, _BRAKED_CLOCK)
            if "hw_slowdown" not in reasons:
                reasons.append("hw_slowdown")
            reasons.append("hw_power_brake")
        return max(_LOWEST_CLOCK, ceiling)

    def _heat(self, length_s: float, now: Conditions) -> None:
        """One resistance from chip to air, one heat capacity; fans follow the heat and lower the resistance."""
        board = self.board
        air = now.airflow
        if board.fans:
            wanted = 0.0 if self.temperature_c < 42.0 else 0.3 + 0.7 * (self.temperature_c - 42.0) / 42.0
            self.fan += (min(1.0, wanted) - self.fan) * (1.0 - math.exp(-length_s / 6.0))
            blowing = self.fan * (board.fans - min(now.dead_fans, board.fans)) / board.fans
            air *= 0.35 + 0.93 * blowing
        settles_at = self.inlet_c + self.power_w * board.c_per_w / max(_STILL_AIR, air)
        pull = 1.0 - math.exp(-length_s / board.thermal_s)
        self.temperature_c += (settles_at - self.temperature_c) * pull
        # Past this a real board would have shut itself down.
        self.temperature_c = min(self.temperature_c, board.temperature_shutdown_c - 0.6)

    def integrate(self, length_s: float, demand: Demand, now: Conditions) -> None:
        """Move the counters on by what held for `length_s` seconds."""
        self.energy_j += self.power_w * length_s
        self.nvlink_bytes += demand.nvlink * length_s
        self.pcie_bytes += demand.pcie * length_s
        for reason in self.reasons:
            if reason in self.throttle_s:
                self.throttle_s[reason] += length_s
        if now.pcie_errors_per_s:
            self.pcie_errors += now.pcie_errors_per_s * length_s
        if now.link_errors_per_s:
            self.link_errors += now.link_errors_per_s * length_s
        if now.correctable_per_s:
            self.correctable += now.correctable_per_s * length_s
