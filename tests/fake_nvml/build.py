"""Compiles the fake driver with the system's C compiler."""

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

from fake_nvml.scenario import SOURCES, exported_functions

# What came after the 470 series: a driver of that time does not have these symbols.
DRIVER_470_MISSING = frozenset(
    {
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetCpuAffinityWithinScope",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetDriverModel_v2",
        "nvmlDeviceGetFanSpeedRPM",
        "nvmlDeviceGetGpuFabricInfo",
        "nvmlDeviceGetGpuFabricInfoV",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetJpgUtilization",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMarginTemperature",
        "nvmlDeviceGetMemoryBusWidth",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetNumFans",
        "nvmlDeviceGetNumGpuCores",
        "nvmlDeviceGetNumaNodeId",
        "nvmlDeviceGetOfaUtilization",
        "nvmlDeviceGetPcieSpeed",
        "nvmlDeviceGetProcessesUtilizationInfo",
        "nvmlDeviceGetRunningProcessDetailList",
        "nvmlDeviceGetSupportedClocksEventReasons",
        "nvmlDeviceGetTemperatureV",
        "nvmlGpmMetricsGet",
        "nvmlGpmMigSampleGet",
        "nvmlGpmQueryDeviceSupport",
        "nvmlGpmSampleAlloc",
        "nvmlGpmSampleFree",
        "nvmlGpmSampleGet",
    }
)


class NoCompilerError(Exception):
    """The system has no C compiler that works."""


def build(into: Path, missing: Iterable[str] = ()) -> Path:
    """A folder with libnvidia-ml.so.1 that lacks those symbols; compiled once for each set."""
    hidden = frozenset(missing)
    unknown = hidden - exported_functions()
    if unknown:
        raise ValueError(f"the fake driver never had {', '.join(sorted(unknown))}")
    name = hashlib.sha256(" ".join(sorted(hidden)).encode()).hexdigest()[:12]
    folder = into / f"nvml-{name}"
    if (folder / "libnvidia-ml.so.1").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    symbols = folder / "symbols.map"
    local = "".join(f"{symbol}; " for symbol in sorted(hidden))
    symbols.write_text(f"{{ global: nvml*; local: {local}*; }};\n")
    compile_sources(folder / "libnvidia-ml.so.1", sorted(SOURCES.glob("*.c")), shared_symbols=symbols)
    return folder


def compile_sources(target: Path, sources: Iterable[Path], shared_symbols: Path | None = None) -> None:
    """Call the compiler, and say what it said where it fails."""
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(SOURCES)]
    if shared_symbols is not None:
        command += ["-fPIC", "-shared", "-Wl,-soname,libnvidia-ml.so.1", f"-Wl,--version-script={shared_symbols}"]
    fresh = target.with_suffix(".new")
    command += ["-o", str(fresh), *map(str, sources), "-lm", "-lpthread"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as no_compiler:
        raise NoCompilerError(
            "the tests of the driver need a C compiler: install gcc or clang as `cc`"
        ) from no_compiler
    if done.returncode != 0:
        raise NoCompilerError(f"the fake driver does not compile:\n{done.stderr}")
    fresh.replace(target)
