"""What lies between a board and its reader: noise, gaps, frozen and missing sensors. Applied to finished rows."""

import random

from msgspec import Struct, structs

from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Gpu

_GPM = ("sm_activity_pct", "sm_occupancy_pct", "tensor_activity_pct", "dram_activity_pct")
_NOISY_PCT = ("utilization_pct", "memory_utilization_pct", *_GPM)
_BATCHES: tuple[tuple[str, ...], ...] = (
    ("power_w", "power_instant_w", "energy_j"),
    ("utilization_pct", "memory_utilization_pct"),
    ("temperature_c", "memory_temperature_c", "temperature_margin_c"),
    ("sm_clock_mhz", "memory_clock_mhz", "pstate"),
    ("throttle_reasons", "throttle_seconds"),
    _GPM,
)
_FREEZABLE = ("power_w", "temperature_c", "utilization_pct", "sm_clock_mhz")


class Gap(Struct, frozen=True):
    """A stretch of time on one GPU, or on the whole node where that is `None`."""

    gpu: int | None
    start_s: int
    end_s: int

    def covers(self, gpu: int | None, second: int) -> bool:
        """Whether it is then and there."""
        return self.gpu == gpu and self.start_s <= second < self.end_s


class Sensors(Struct, frozen=True, kw_only=True):
    """How good the readings of one episode are."""

    gpm: bool = True
    link_bytes: bool = True
    noise: float = 1.0
    drop: float = 0.0
    """The part of seconds in which a batch of fields does not come."""
    gains: tuple[float, ...] = ()
    """What each power sensor shows of a true watt."""
    offsets: tuple[float, ...] = ()
    """Degrees each temperature sensor is off."""
    blanks: tuple[Gap, ...] = ()
    """Everything of one GPU is unknown."""
    stale: tuple[Gap, ...] = ()
    silences: tuple[Gap, ...] = ()
    """No frames at all."""
    frozen: tuple[tuple[str, Gap], ...] = ()


def random_sensors(chance: random.Random, gpus: int, seconds: int) -> Sensors:
    """Sensors as they come: most are fair, some are bad."""
    gappy = chance.random()
    blanks: list[Gap] = []
    stale: list[Gap] = []
    silences: list[Gap] = []
    frozen: list[tuple[str, Gap]] = []
    if gappy < 0.15:
        blanks.append(_gap(chance, gpus, seconds, 4, 40))
    if 0.1 < gappy < 0.22:
        # Hiccups of the driver, too short to wake anybody.
        stale.append(_gap(chance, gpus, seconds, 2, 7))
    if 0.2 < gappy < 0.27:
        one = _gap(chance, gpus, seconds, 3, 25)
        silences.append(Gap(None, one.start_s, one.end_s))
    if 0.27 < gappy < 0.32:
        frozen.append((chance.choice(_FREEZABLE), _gap(chance, gpus, seconds, 20, 90)))
    return Sensors(
        gpm=chance.random() < 0.6,
        link_bytes=chance.random() < 0.75,
        noise=chance.choice((0.5, 1.0, 1.0, 2.0)),
        drop=chance.choice((0.0, 0.0, 0.01, 0.05)),
        gains=tuple(chance.gauss(1.0, 0.015) for _ in range(gpus)),
        offsets=tuple(float(chance.choice((-1, 0, 0, 1))) for _ in range(gpus)),
        blanks=tuple(blanks),
        stale=tuple(stale),
        silences=tuple(silences),
        frozen=tuple(frozen),
    )


def _gap(chance: random.Random, gpus: int, seconds: int, shortest: int, longest: int) -> Gap:
    start = chance.randrange(30, max(31, seconds - longest))
    return Gap(chance.randrange(gpus), start, start + chance.randint(shortest, longest))


class Reader:
    """Spoils rows second by second, always the same way for the same seed."""

    def __init__(self, sensors: Sensors, chance: random.Random) -> None:
        self._sensors = sensors
        self._chance = chance
        self._last: dict[int, Gpu] = {}
        self._held: dict[tuple[int, str], object] = {}

    def is_silent(self, second: int) -> bool:
        """Whether no frame comes in this second."""
        return any(gap.covers(None, second) for gap in self._sensors.silences)

    def read(self, true: Gpu, second: int) -> Gpu:
        """The row as it arrives."""
        if true.state != "ok":
            return true
        index = true.index
        if any(gap.covers(index, second) for gap in self._sensors.stale):
            return self._stale(true, second)
        changes = self._noise(true)
        self._strip(true, changes)
        self._freeze(true, changes, second)
        absent = dict(true.absent)
        for batch in _BATCHES:
            if self._sensors.drop and self._chance.random() < self._sensors.drop:
                _blank(changes, absent, batch)
        if any(gap.covers(index, second) for gap in self._sensors.blanks):
            for batch in _BATCHES:
                _blank(changes, absent, batch)
        row = structs.replace(true, absent=absent, **changes)
        self._last[index] = row
        return row

    def _stale(self, true: Gpu, second: int) -> Gpu:
        gap = next(gap for gap in self._sensors.stale if gap.covers(true.index, second))
        age = float(second - gap.start_s + 1)
        row = self._last.get(true.index, true)
        state = "stale" if age > 3.0 else "ok"
        problem = f"The driver has not answered for {age:.0f} s." if state == "stale" else None
        return structs.replace(row, state=state, age_s=age, problem=problem)

    def _noise(self, true: Gpu) -> dict[str, object]:
        sensors, gauss = self._sensors, self._chance.gauss
        noise, index = sensors.noise, true.index
        changes: dict[str, object] = {}
        gain = sensors.gains[index] if index < len(sensors.gains) else 1.0
        if true.power_w is not None:
            changes["power_w"] = max(0.0, round(true.power_w * gain * (1.0 + 0.006 * noise * gauss(0.0, 1.0)), 3))
        if true.power_instant_w is not None:
            factor = gain * (1.0 + 0.02 * noise * gauss(0.0, 1.0))
            changes["power_instant_w"] = max(0.0, round(true.power_instant_w * factor, 3))
        if true.temperature_c is not None and sensors.offsets:
            off = sensors.offsets[index]
            changes["temperature_c"] = true.temperature_c + off
            if true.temperature_margin_c is not None:
                changes["temperature_margin_c"] = true.temperature_margin_c - off
        for name in _NOISY_PCT:
            value = getattr(true, name)
            if value:
                changes[name] = min(100.0, max(0.0, round(value + 0.7 * noise * gauss(0.0, 1.0), 1)))
        return changes

    def _strip(self, true: Gpu, changes: dict[str, object]) -> None:
        if not self._sensors.gpm:
            changes.update(dict.fromkeys(_GPM))
        if not self._sensors.link_bytes:
            if true.nvlink is not None:
                changes["nvlink"] = structs.replace(true.nvlink, tx_bytes_per_s=None, rx_bytes_per_s=None)
            if true.pcie is not None:
                changes["pcie"] = structs.replace(true.pcie, tx_bytes_per_s=None, rx_bytes_per_s=None)

    def _freeze(self, true: Gpu, changes: dict[str, object], second: int) -> None:
        for name, gap in self._sensors.frozen:
            if gap.covers(true.index, second):
                key = (true.index, name)
                if key not in self._held:
                    self._held[key] = changes.get(name, getattr(true, name))
                changes[name] = self._held[key]


def _blank(changes: dict[str, object], absent: dict[str, Absence], batch: tuple[str, ...]) -> None:
    changes.update(dict.fromkeys(batch))
    absent.update(dict.fromkeys(batch, Absence.NO_ANSWER))
