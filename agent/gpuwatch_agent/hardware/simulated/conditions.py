"""What is wrong with one GPU at one moment: faults write it, physics and readings obey it."""


class Conditions:
    """All as it should be until a fault says otherwise."""

    __slots__ = (
        "airflow",
        "correctable_per_s",
        "dead_fans",
        "denied",
        "extra_memory_bytes",
        "fabric_failed",
        "foreign",
        "hangs",
        "idle",
        "link_errors_per_s",
        "links_down",
        "lost",
        "needs_reset",
        "off_the_list",
        "pcie_errors_per_s",
        "pcie_gen",
        "pcie_width",
        "power_brake",
        "power_limit_w",
        "rows_failed",
        "rows_pending",
        "slow_call_s",
        "slowness",
        "stuck",
        "uncorrectable",
    )

    def __init__(self) -> None:
        self.airflow = 1.0
        """The part of the air that still passes."""
        self.dead_fans = 0
        self.power_limit_w: float | None = None
        self.power_brake = False
        self.pcie_width: int | None = None
        self.pcie_gen: int | None = None
        self.pcie_errors_per_s = 0.0
        self.links_down: frozenset[int] = frozenset()
        self.link_errors_per_s = 0.0
        self.fabric_failed = False
        self.correctable_per_s = 0.0
        self.uncorrectable = 0
        self.rows_pending = False
        self.rows_failed = False
        self.slowness = 0.0
        """By how much a step takes longer on this GPU than its clocks tell."""
        self.foreign = 0.0
        """The part of the SMs that somebody else's program takes."""
        self.stuck = False
        self.idle = False
        self.extra_memory_bytes = 0
        self.lost = False
        self.off_the_list = False
        self.hangs = False
        self.slow_call_s = 0.0
        self.denied = False
        self.needs_reset = False
