"""Asks the driver directly what gpuwatch takes for granted, and what each call costs. Only reads; changes no setting."""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pynvml as n

PCIE_BYTES = {197: "PCIe bytes sent", 198: "PCIe bytes received"}
NVLINK_KIB = {138: "NVLink KiB sent", 139: "NVLink KiB received"}
FIELDS = {
    82: "memory temperature",
    83: "energy",
    185: "power, averaged",
    186: "power, now",
    193: "margin to shutdown",
    194: "margin to slowdown",
    195: "margin to memory's limit",
    196: "margin to the highest GPU temperature",
    74: "time capped by power",
    76: "time in sync boost",
    269: "time slowed by software for heat",
    270: "time slowed by hardware for heat",
    271: "time slowed by the power brake",
}
VALUES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
TYPES = {0: "double", 1: "u32", 2: "ulong", 3: "u64", 4: "s64", 5: "s32", 6: "u16"}
THRESHOLDS = (
    "shutdown",
    "slowdown",
    "memory highest",
    "GPU highest",
    "acoustic min",
    "acoustic now",
    "acoustic max",
    "GPS",
)
EVENTS = {0x1: "single-bit ECC", 0x2: "double-bit ECC", 0x4: "P-state", 0x8: "Xid", 0x10: "clock"}
READINGS, APART_S = 6, 0.25
CALLS_TIMED = 20
GPM_APART_S = 0.5
GPM_METRICS = {
    2: "SM activity", 3: "SM occupancy", 5: "tensor activity", 10: "DRAM activity", 20: "PCIe MiB/s sent", 21: "PCIe MiB/s received",
    60: "NVLink MiB/s received", 61: "NVLink MiB/s sent",
}  # fmt: skip


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call gives, or in words why it gives nothing."""
    try:
        return call(*arguments)
    except n.NVMLError as error:
        return f"refused: {error} (code {error.value})"
    except (AttributeError, TypeError, ValueError) as error:
        return f"the binding failed: {type(error).__name__}: {error}"


def field(handle: Any, number: int, scope: int = 0) -> tuple[str, Any]:
    """One field's type and value."""
    answer = n.nvmlDeviceGetFieldValues(handle, [(number, scope)])[0]
    if answer.nvmlReturn:
        return "", f"refused: {n.NVMLError(answer.nvmlReturn)} (code {answer.nvmlReturn})"
    kind = answer.valueType
    return TYPES.get(kind, f"type {kind}"), getattr(answer.value, VALUES.get(kind, "ullVal"))


def counters(handle: Any) -> None:
    """Whether the byte counters are 32 or 64 bits wide, and whether they move, wrap or stand."""
    print(
        "\nbyte counters, a quarter of a second apart (a 32-bit one wraps unseen; u32, or values under 2^32 throughout, is the sign)"
    )
    wanted = PCIE_BYTES | NVLINK_KIB
    seen: dict[int, list[tuple[str, Any]]] = {number: [] for number in wanted}
    for reading in range(READINGS):
        if reading:
            time.sleep(APART_S)
        for number, found in seen.items():
            answer = attempt(field, handle, number, 0xFFFFFFFF if number in NVLINK_KIB else 0)
            found.append(answer if isinstance(answer, tuple) else ("", answer))
    for number, found in seen.items():
        kind, first = found[0]
        values = [value for _, value in found]
        if all(isinstance(value, int) for value in values):
            steps = [later - earlier for earlier, later in pairwise(values)]
            above = "above 2^32" if max(values) >= 1 << 32 else "all below 2^32"
            print(f"  {number} {wanted[number]}: {kind}, {above}, first {first}, steps {steps}")
        else:
            print(f"  {number} {wanted[number]}: {kind} {first}")


def single_fields(handle: Any) -> None:
    """Fields that stand for themselves."""
    print("\nfields")
    for number, name in FIELDS.items():
        found = attempt(field, handle, number)
        print(f"  {number} {name}: {' '.join(str(part) for part in found) if isinstance(found, tuple) else found}")


def temperatures(handle: Any) -> None:
    """Limits in degrees, and the margin of boards that speak of T.Limit."""
    print("\ntemperatures")
    print(f"  now: {attempt(n.nvmlDeviceGetTemperature, handle, 0)}")
    print(f"  margin: {attempt(n.nvmlDeviceGetMarginTemperature, handle)}")
    for number, name in enumerate(THRESHOLDS):
        print(f"  limit, {name}: {attempt(n.nvmlDeviceGetTemperatureThreshold, handle, number)}")


def activity(handle: Any) -> None:
    """Whether this user gets GPM's metrics."""
    print("\nGPM")
    support = attempt(n.nvmlGpmQueryDeviceSupport, handle)
    print(f"  supported: {support if isinstance(support, str) else bool(support.isSupportedDevice)}")
    if isinstance(support, str) or not support.isSupportedDevice:
        return
    samples = [attempt(n.nvmlGpmSampleAlloc) for _ in range(2)]
    for position, sample in enumerate(samples):
        if position:
            time.sleep(GPM_APART_S)
        taken = attempt(n.nvmlGpmSampleGet, handle, sample)
        if isinstance(taken, str):
            print(f"  sample: {taken}")
            return
    request = n.c_nvmlGpmMetricsGet_t()
    request.version = n.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = len(GPM_METRICS)
    request.sample1, request.sample2 = samples
    for slot, metric in enumerate(GPM_METRICS):
        request.metrics[slot].metricId = metric
    answer = attempt(n.nvmlGpmMetricsGet, request)
    if isinstance(answer, str):
        print(f"  metrics: {answer}")
        return
    for slot, name in enumerate(GPM_METRICS.values()):
        metric = answer.metrics[slot]
        refusal = f" (code {metric.nvmlReturn})" if metric.nvmlReturn else ""
        print(f"  {name}: {metric.value:.3f}{refusal}")
    for sample in samples:
        attempt(n.nvmlGpmSampleFree, sample)


def events(handle: Any) -> None:
    """Whether this user may wait for Xids."""
    print("\nevents")
    supported = attempt(n.nvmlDeviceGetSupportedEventTypes, handle)
    names = [name for bit, name in EVENTS.items() if isinstance(supported, int) and supported & bit]
    print(f"  supported: {supported if isinstance(supported, str) else hex(supported)} {', '.join(names)}")
    watched = attempt(n.nvmlEventSetCreate)
    if isinstance(watched, str):
        print(f"  event set: {watched}")
        return
    registered = attempt(n.nvmlDeviceRegisterEvents, handle, 0x8, watched)
    print(f"  Xid registered: {registered if isinstance(registered, str) else 'yes'}")
    attempt(n.nvmlEventSetFree, watched)


def costs(handle: Any) -> None:
    """What the calls cost that the collectors make: first, median and worst of twenty."""
    print(f"\ncosts in microseconds: first, median and worst of {CALLS_TIMED}")
    fast = [
        *((number, 0) for number in (82, 83, 185, 186, 197, 198, 74, 76, 269, 270, 271)),
        (138, 0xFFFFFFFF),
        (139, 0xFFFFFFFF),
    ]
    calls: dict[str, Callable[[], Any]] = {
        "fields of the fast tier at once": lambda: n.nvmlDeviceGetFieldValues(handle, fast),
        "utilisation": lambda: n.nvmlDeviceGetUtilizationRates(handle),
        "memory": lambda: n.nvmlDeviceGetMemoryInfo(handle, n.nvmlMemory_v2),
        "power": lambda: n.nvmlDeviceGetPowerUsage(handle),
        "temperature": lambda: n.nvmlDeviceGetTemperature(handle, 0),
        "margin": lambda: n.nvmlDeviceGetMarginTemperature(handle),
        "SM clock": lambda: n.nvmlDeviceGetClockInfo(handle, 1),
        "throttle reasons": lambda: n.nvmlDeviceGetCurrentClocksEventReasons(handle),
        "performance state": lambda: n.nvmlDeviceGetPerformanceState(handle),
        "PCIe width": lambda: n.nvmlDeviceGetCurrPcieLinkWidth(handle),
        "PCIe replays": lambda: n.nvmlDeviceGetPcieReplayCounter(handle),
        "one NVLink's state": lambda: n.nvmlDeviceGetNvLinkState(handle, 0),
        "compute processes": lambda: n.nvmlDeviceGetComputeRunningProcesses_v3(handle),
        "process utilisation": lambda: n.nvmlDeviceGetProcessUtilization(handle, 0),
        "ECC count": lambda: n.nvmlDeviceGetTotalEccErrors(handle, 0, 1),
        "remapped rows": lambda: n.nvmlDeviceGetRemappedRows(handle),
        "encoder": lambda: n.nvmlDeviceGetEncoderUtilization(handle),
        "fan": lambda: n.nvmlDeviceGetFanSpeed_v2(handle, 0),
        "power limit": lambda: n.nvmlDeviceGetEnforcedPowerLimit(handle),
        "PCIe throughput, sampled (never called by gpuwatch)": lambda: n.nvmlDeviceGetPcieThroughput(handle, 0),
    }
    for name, call in calls.items():
        took: list[float] = []
        answer = None
        for _ in range(CALLS_TIMED):
            began = time.perf_counter()
            answer = attempt(call)
            took.append((time.perf_counter() - began) * 1e6)
        refused = f"  {answer}" if isinstance(answer, str) and answer.startswith("refused") else ""
        print(f"  {name:<52} {took[0]:9.0f} {statistics.median(took):9.0f} {max(took):9.0f}{refused}")


def main() -> int:
    """All of it for each GPU; the costs of the first only."""
    began = time.perf_counter()
    n.nvmlInit()
    print(f"nvmlInit took {(time.perf_counter() - began) * 1000:.1f} ms")
    print(f"driver {attempt(n.nvmlSystemGetDriverVersion)}, NVML {attempt(n.nvmlSystemGetNVMLVersion)}")
    for index in range(n.nvmlDeviceGetCount()):
        handle = n.nvmlDeviceGetHandleByIndex(index)
        print(f"\n=== GPU {index}: {attempt(n.nvmlDeviceGetName, handle)}")
        for look in (temperatures, single_fields, counters, activity, events):
            look(handle)
        if index == 0:
            costs(handle)
    n.nvmlShutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
