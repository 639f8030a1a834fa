"""One GPU through NVML."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from gpuwatch_agent.hardware.base import (
    Activity,
    Bar1,
    Clocks,
    Codecs,
    Device,
    Fans,
    Identity,
    Limits,
    Memory,
    MemoryHealth,
    MigState,
    Modes,
    NvLinks,
    NvLinkTraffic,
    PcieHealth,
    PcieLink,
    PcieTraffic,
    Placement,
    Power,
    Processes,
    Profile,
    RawReading,
    Thermals,
    Throttle,
    Tier,
)
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.hardware.nvml.fields import ALL_LINKS, FieldBatch
from gpuwatch_agent.hardware.nvml.gpm import GpmReader
from gpuwatch_agent.hardware.nvml.identity import AMPERE, read_identity
from gpuwatch_agent.hardware.nvml.links import LinkReader
from gpuwatch_agent.hardware.nvml.memory_health import read_memory_health
from gpuwatch_agent.hardware.nvml.mig import MigReader
from gpuwatch_agent.hardware.nvml.modes import RECOVERY_FIELD, read_modes
from gpuwatch_agent.hardware.nvml.placement import read_placement
from gpuwatch_agent.hardware.nvml.processes import ProcessReader
from gpuwatch_agent.hardware.nvml.throttle import TIME_FIELDS, read_throttle
from gpuwatch_agent.model.absence import Absence

T = TypeVar("T")

_POWER_AVERAGE, _POWER_INSTANT, _ENERGY, _MEMORY_TEMPERATURE = 185, 186, 83, 82
_NVLINK_TX, _NVLINK_RX = 138, 139
_PCIE_TX, _PCIE_RX = 197, 198
_SHUTDOWN_MARGIN, _SLOWDOWN_MARGIN = 193, 194
_SLOWDOWN, _SHUTDOWN = 1, 0
_CORE = 0
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_NARROW_WRAPS_AT, _WIDE_WRAPS_AT = 1 << 32, 1 << 64

_PCIE_ERRORS: dict[str, int] = {
    "correctable": 173,
    "naks_received": 174,
    "receiver": 175,
    "bad_tlp": 176,
    "naks_sent": 177,
    "bad_dllp": 178,
    "non_fatal": 179,
    "fatal": 180,
    "unsupported_request": 181,
    "lcrc": 182,
    "lane": 183,
}

_FAST_FIELDS = (
    *((field, 0) for field in (_POWER_AVERAGE, _POWER_INSTANT, _ENERGY, _MEMORY_TEMPERATURE)),
    *((field, 0) for field in TIME_FIELDS.values()),
    *((field, ALL_LINKS) for field in (_NVLINK_TX, _NVLINK_RX)),
    *((field, 0) for field in (_PCIE_TX, _PCIE_RX)),
)
_SLOW_FIELDS = tuple(
    (field, 0) for field in (*_PCIE_ERRORS.values(), _SHUTDOWN_MARGIN, _SLOWDOWN_MARGIN, RECOVERY_FIELD)
)


class NvmlDevice:
    """Readings of one GPU; not thread-safe: its worker alone calls it."""

    def __init__(self, index: int, uuid: str, handle: object, clock: Callable[[], float]) -> None:
        self.index = index
        self.uuid = uuid
        self.handle = handle
        self._questions = Questions(clock)
        self._fast = FieldBatch(_FAST_FIELDS, clock)
        self._slow = FieldBatch(_SLOW_FIELDS, clock)
        self._gpm = GpmReader(handle, self._questions, clock, None)
        self._links = LinkReader(handle, self._questions, clock)
        self._mig = MigReader(handle, self._questions, clock)
        self._processes = ProcessReader(handle, self._questions)
        self._idle = False
        self._latest_thermals: Thermals | None = None

    def begin(self, tier: Tier) -> None:
        if tier is Tier.FAST:
            self._fast.fetch(self.handle)
        elif tier is Tier.SLOW:
            self._slow.fetch(self.handle)

    def identity(self) -> Identity:
        return read_identity(self.index, self.uuid, self.handle, self._questions)

    def activity(self) -> Activity:
        reading = Activity()
        rates = self._questions.ask(reading, "utilization_pct", nvml.nvmlDeviceGetUtilizationRates, self.handle)
        if rates is None:
            reading.absent["memory_utilization_pct"] = reading.absent["utilization_pct"]
            self._idle = False
            return reading
        reading.utilization_pct = _checked(reading, "utilization_pct", plausible.percentage(rates.gpu))
        reading.memory_utilization_pct = _checked(reading, "memory_utilization_pct", plausible.percentage(rates.memory))
        self._idle = reading.utilization_pct == 0
        return reading

    def codecs(self) -> Codecs:
        reading = Codecs()
        for name, call in (
            ("encoder_pct", nvml.nvmlDeviceGetEncoderUtilization),
            ("decoder_pct", nvml.nvmlDeviceGetDecoderUtilization),
        ):
            answer = self._questions.ask(reading, name, call, self.handle)
            if answer is not None:
                setattr(reading, name, _checked(reading, name, plausible.percentage(answer[0])))
        return reading

    def memory(self) -> Memory:
        reading = Memory()
        info = self._questions.ask(
            reading, "memory_used_bytes", nvml.nvmlDeviceGetMemoryInfo, self.handle, nvml.nvmlMemory_v2
        )
        reserved = info.reserved if info is not None else None
        if info is None:
            info = self._questions.ask(reading, "memory_total_bytes", nvml.nvmlDeviceGetMemoryInfo, self.handle)
            reading.absent["memory_reserved_bytes"] = reading.absent["memory_used_bytes"]
            if info is None:
                return reading
            del reading.absent["memory_used_bytes"]
        total = plausible.byte_count(info.total)
        used = plausible.byte_count(info.used)
        if total == 0 or (total is not None and used is not None and used > total):
            total = used = None
        reading.memory_total_bytes = _checked(reading, "memory_total_bytes", total)
        reading.memory_used_bytes = _checked(reading, "memory_used_bytes", used)
        reading.memory_reserved_bytes = plausible.byte_count(reserved)
        return reading

    def bar1(self) -> Bar1:
        reading = Bar1()
        info = self._questions.ask(reading, "bar1_used_bytes", nvml.nvmlDeviceGetBAR1MemoryInfo, self.handle)
        if info is None:
            reading.absent["bar1_total_bytes"] = reading.absent["bar1_used_bytes"]
            return reading
        reading.bar1_used_bytes = _checked(reading, "bar1_used_bytes", plausible.byte_count(info.bar1Used))
        reading.bar1_total_bytes = _checked(reading, "bar1_total_bytes", plausible.byte_count(info.bar1Total))
        return reading

    def power(self) -> Power:
        reading = Power()
        reading.power_w = plausible.watts_from_milliwatts(self._fast.get(_POWER_AVERAGE))
        if reading.power_w is None:
            milliwatts = self._questions.ask(reading, "power_w", nvml.nvmlDeviceGetPowerUsage, self.handle)
            reading.power_w = plausible.watts_from_milliwatts(milliwatts)
            if milliwatts is not None:
                _checked(reading, "power_w", reading.power_w)
        reading.power_instant_w = plausible.watts_from_milliwatts(self._fast.get(_POWER_INSTANT))
        if reading.power_instant_w is None:
            reading.absent["power_instant_w"] = self._fast.reason(_POWER_INSTANT)
        millijoules = self._fast.whole(_ENERGY)
        if millijoules is None:
            millijoules = self._questions.ask(
                reading, "energy_j", nvml.nvmlDeviceGetTotalEnergyConsumption, self.handle
            )
        if millijoules is not None:
            blank = plausible.count(millijoules) is None or millijoules >= 1 << 62
            reading.energy_j = _checked(reading, "energy_j", None if blank else millijoules / 1000)
        return reading

    def thermals(self) -> Thermals:
        reading = Thermals()
        degrees = self._questions.ask(reading, "temperature_c", nvml.nvmlDeviceGetTemperature, self.handle, _CORE)
        if degrees is not None:
            reading.temperature_c = _checked(reading, "temperature_c", plausible.celsius(degrees))
        memory = self._fast.get(_MEMORY_TEMPERATURE)
        reading.memory_temperature_c = plausible.celsius(memory)
        if reading.memory_temperature_c is None:
            # Boards without the sensor answer 0 or nothing.
            reason = self._fast.reason(_MEMORY_TEMPERATURE) if memory is None else Absence.NOT_SUPPORTED
            reading.absent["memory_temperature_c"] = reason
        left = self._questions.ask(reading, "temperature_margin_c", nvml.nvmlDeviceGetMarginTemperature, self.handle)
        if left is not None:
            reading.temperature_margin_c = _checked(reading, "temperature_margin_c", plausible.margin(left))
        self._latest_thermals = reading
        return reading

    def limits(self) -> Limits:
        reading = Limits()
        for name, call in (
            ("power_limit_w", nvml.nvmlDeviceGetEnforcedPowerLimit),
            ("power_limit_default_w", nvml.nvmlDeviceGetPowerManagementDefaultLimit),
        ):
            milliwatts = self._questions.ask(reading, name, call, self.handle)
            if milliwatts is not None:
                setattr(reading, name, _checked(reading, name, plausible.watts_from_milliwatts(milliwatts)))
        bounds = self._questions.ask(
            reading, "power_limit_min_w", nvml.nvmlDeviceGetPowerManagementLimitConstraints, self.handle
        )
        if bounds is None:
            reading.absent["power_limit_max_w"] = reading.absent["power_limit_min_w"]
        else:
            reading.power_limit_min_w = plausible.watts_from_milliwatts(bounds[0])
            reading.power_limit_max_w = plausible.watts_from_milliwatts(bounds[1])
        self._temperature_limits(reading)
        return reading

    def _temperature_limits(self, reading: Limits) -> None:
        """Degrees where the board speaks of degrees, else reckoned from its margin and the offsets of its limits."""
        for name, threshold, margin_field in (
            ("temperature_slowdown_c", _SLOWDOWN, _SLOWDOWN_MARGIN),
            ("temperature_shutdown_c", _SHUTDOWN, _SHUTDOWN_MARGIN),
        ):
            degrees = plausible.celsius(
                self._questions.ask(reading, name, nvml.nvmlDeviceGetTemperatureThreshold, self.handle, threshold)
            )
            offset = plausible.margin(self._slow.get(margin_field))
            if degrees is None and offset is not None:
                now = self._latest_thermals or self.thermals()
                if now.temperature_c is not None and now.temperature_margin_c is not None:
                    degrees = now.temperature_c + now.temperature_margin_c - offset
            if degrees is None:
                reading.absent.setdefault(name, Absence.IMPLAUSIBLE)
            else:
                reading.absent.pop(name, None)
                setattr(reading, name, float(degrees))

    def fans(self) -> Fans:
        reading = Fans()
        fans = self._questions.ask(reading, "fans_pct", nvml.nvmlDeviceGetNumFans, self.handle)
        if fans is None:
            # Old drivers can't count fans but read the first.
            only = self._questions.ask(reading, "fans_pct", nvml.nvmlDeviceGetFanSpeed, self.handle)
            if only is not None:
                reading.absent.pop("fans_pct", None)
                reading.fans_pct = [plausible.percentage(only)]
            return reading
        if fans == 0:
            reading.absent["fans_pct"] = Absence.NOT_SUPPORTED
            return reading
        reading.fans_pct = [
            plausible.percentage(
                self._questions.ask(reading, f"fans_pct.{fan}", nvml.nvmlDeviceGetFanSpeed_v2, self.handle, fan)
            )
            for fan in range(min(fans, 16))
        ]
        if all(speed is None for speed in reading.fans_pct):
            reading.absent["fans_pct"] = reading.absent.get("fans_pct.0", Absence.IMPLAUSIBLE)
            reading.fans_pct = None
        return reading

    def clocks(self) -> Clocks:
        reading = Clocks()
        for name, clock in (("sm_clock_mhz", _CLOCK_SM), ("memory_clock_mhz", _CLOCK_MEMORY)):
            megahertz = self._questions.ask(reading, name, nvml.nvmlDeviceGetClockInfo, self.handle, clock)
            if megahertz is not None:
                setattr(reading, name, _checked(reading, name, plausible.megahertz(megahertz)))
        state = self._questions.ask(reading, "pstate", nvml.nvmlDeviceGetPerformanceState, self.handle)
        if state is not None:
            reading.pstate = _checked(reading, "pstate", plausible.performance_state(state))
        return reading

    def throttle(self) -> Throttle:
        return read_throttle(self.handle, self._questions, self._fast)

    def profile(self) -> Profile:
        return self._gpm.read(idle=self._idle)

    def pcie_traffic(self) -> PcieTraffic:
        reading = PcieTraffic(wraps_at=_NARROW_WRAPS_AT if self._fast.is_narrow(_PCIE_TX) else _WIDE_WRAPS_AT)
        for name, field in (("tx_bytes", _PCIE_TX), ("rx_bytes", _PCIE_RX)):
            value = self._fast.whole(field)
            if value is None or value < 0:
                reading.absent[name] = self._fast.reason(field)
            else:
                setattr(reading, name, value)
        return reading

    def pcie_link(self) -> PcieLink:
        reading = PcieLink()
        for name, call, check in (
            ("gen", nvml.nvmlDeviceGetCurrPcieLinkGeneration, plausible.link_generation),
            ("gen_max", nvml.nvmlDeviceGetMaxPcieLinkGeneration, plausible.link_generation),
            ("width", nvml.nvmlDeviceGetCurrPcieLinkWidth, plausible.link_width),
            ("width_max", nvml.nvmlDeviceGetMaxPcieLinkWidth, plausible.link_width),
        ):
            answer = self._questions.ask(reading, name, call, self.handle)
            if answer is not None:
                setattr(reading, name, _checked(reading, name, check(answer)))
        return reading

    def pcie_health(self) -> PcieHealth:
        reading = PcieHealth()
        replays = self._questions.ask(reading, "replays", nvml.nvmlDeviceGetPcieReplayCounter, self.handle)
        if replays is not None:
            reading.replays = _checked(reading, "replays", plausible.count(replays))
        found = {name: plausible.count(self._slow.whole(field)) for name, field in _PCIE_ERRORS.items()}
        reading.errors = {name: value for name, value in found.items() if value is not None} or None
        if reading.errors is None:
            reading.absent["errors"] = self._slow.reason(_PCIE_ERRORS["correctable"])
        return reading

    def nvlink_traffic(self) -> NvLinkTraffic:
        reading = NvLinkTraffic()
        for name, field in (("tx_bytes", _NVLINK_TX), ("rx_bytes", _NVLINK_RX)):
            kibibytes = plausible.count(self._fast.whole(field, ALL_LINKS))
            if kibibytes is None:
                reading.absent[name] = self._fast.reason(field, ALL_LINKS)
            else:
                setattr(reading, name, kibibytes * 1024)
        return reading

    def nvlinks(self) -> NvLinks:
        return self._links.read()

    def memory_health(self) -> MemoryHealth:
        architecture = self._questions.ask(RawReading(), "architecture", nvml.nvmlDeviceGetArchitecture, self.handle)
        return read_memory_health(self.handle, self._questions, has_row_remapping=self._remaps_rows(architecture))

    def _remaps_rows(self, architecture: int | None) -> bool:
        """Data-centre boards from Ampere on; GeForce answers the call too, with zeros that mean nothing."""
        name = self._questions.ask(RawReading(), "name", nvml.nvmlDeviceGetName, self.handle) or ""
        return (architecture is None or architecture >= AMPERE) and "GeForce" not in name

    def modes(self) -> Modes:
        return read_modes(self.handle, self._questions, self._slow)

    def mig(self) -> MigState:
        return self._mig.read()

    def processes(self) -> Processes:
        return self._processes.read()

    def placement(self, others: Sequence[Device]) -> Placement:
        known = [(other.index, other.handle) for other in others if isinstance(other, NvmlDevice)]
        return read_placement(self.handle, known, self._questions)


def _checked(reading: RawReading, name: str, value: T | None) -> T | None:
    """The value, or the note that what the driver gave can't be true."""
    if value is None:
        reading.absent[name] = Absence.IMPLAUSIBLE
    else:
        reading.absent.pop(name, None)
    return value
