"""GPUs at work, and what may happen to them: changes for `Story`."""

from typing import Any

from msgspec import structs

from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from support.windows import Change

REASONS = ("sw_power_cap", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake")


def working(index: int, **different: Any) -> Gpu:  # any field of a GPU
    """A rank of a tensor-parallel group on an H100, as it should be; its counters look back on a long life."""
    gpu = Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA H100 80GB HBM3",
        utilization_pct=98.0,
        power_w=600.0,
        power_limit_w=700.0,
        power_limit_default_w=700.0,
        temperature_c=60.0,
        memory_temperature_c=70.0,
        temperature_slowdown_c=89.0,
        temperature_shutdown_c=95.0,
        temperature_margin_c=27.0,
        sm_clock_mhz=1980,
        sm_clock_max_mhz=1980,
        throttle_reasons=[],
        throttle_seconds=dict.fromkeys(REASONS, 7015.0),
        processes=[
            Process(pid=100 + index, name="VLLM::Worker", split="tensor", tp_group="chat", tp_rank=index, tp_size=8)
        ],
    )
    return structs.replace(gpu, **different)


def hot(degrees: float, **different: Any) -> dict[str, Any]:  # as above
    return {"temperature_c": degrees, "temperature_margin_c": 87.0 - degrees, **different}


def held(reasons: str, *gpus: int, share: float = 1.0, since: int = 0, **different: Any) -> Change:  # as above
    """From `since` on some GPUs are held down for a share of every second, for reasons as `sw_thermal hw_thermal`."""

    def change(gpu: Gpu, second: int) -> Gpu:
        if gpu.index not in gpus or second < since:
            return gpu
        grown = share * (second - since + 1)
        counters = gpu.throttle_seconds
        if counters is not None:
            counters = {reason: total + grown * (reason in reasons.split()) for reason, total in counters.items()}
        return structs.replace(gpu, throttle_reasons=reasons.split(), throttle_seconds=counters, **different)

    return change


def are(*gpus: int, **different: Any) -> Change:  # as above
    """Some GPUs differ, all the time."""
    return lambda gpu, _: structs.replace(gpu, **different) if gpu.index in gpus else gpu
