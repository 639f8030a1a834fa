"""Why clocks are held down: NVML's bits and counters under the names of the contract."""

from gpuwatch_agent.hardware.base import Throttle
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.hardware.nvml.fields import FieldBatch

_REASON_OF_BIT: dict[int, str] = {
    0x001: "idle",
    0x002: "applications_clocks",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "hw_power_brake",
    0x100: "display_clocks",
}

# Field ids of the counters, in nanoseconds since the driver was loaded.
TIME_FIELDS: dict[str, int] = {
    "sw_power_cap": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP,
    "sync_boost": nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST,
    "sw_thermal": 269,
    "hw_thermal": 270,
    "hw_power_brake": 271,
}

# Drivers before the counters know two of them under an older call.
_VIOLATIONS = {"sw_power_cap": 0, "sync_boost": 2}


def read_throttle(handle: object, questions: Questions, fields: FieldBatch) -> Throttle:
    """The reasons now and the seconds each has held so far."""
    reading = Throttle()
    bits = questions.ask(reading, "throttle_reasons", nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if bits is None:
        bits = questions.ask(reading, "throttle_reasons", nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    if bits is not None:
        reading.absent.pop("throttle_reasons", None)
        reading.throttle_reasons = [reason for bit, reason in _REASON_OF_BIT.items() if bits & bit]
    seconds: dict[str, float] = {}
    for reason, field in TIME_FIELDS.items():
        nanoseconds = fields.whole(field)
        if nanoseconds is None and reason in _VIOLATIONS:
            answer = questions.ask(
                reading, f"violation.{reason}", nvml.nvmlDeviceGetViolationStatus, handle, _VIOLATIONS[reason]
            )
            reading.absent.pop(f"violation.{reason}", None)
            nanoseconds = answer.violationTime if answer is not None else None
        if nanoseconds is not None and 0 <= nanoseconds < 1 << 62:
            seconds[reason] = nanoseconds / 1e9
    if seconds:
        reading.throttle_seconds = seconds
    else:
        reading.absent["throttle_seconds"] = fields.reason(TIME_FIELDS["sw_power_cap"])
    return reading
