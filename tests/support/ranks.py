"""GPUs of one tensor-parallel group, as they read in step, and what befalls them."""

from msgspec import structs

from gpuwatch_agent.model.gpu import Gpu, NvLink, Pcie
from gpuwatch_agent.model.process import Process
from support.windows import START, Change

GIB = 1 << 30


def worker(rank: int, group: str = "vllm:llama@7", split: str = "tensor", size: int = 8) -> Process:
    """A rank's process, started long ago."""
    return Process(
        pid=1000 + rank,
        user="serve",
        name=f"VLLM::Worker_TP{rank}",
        command=f"VLLM::Worker_TP{rank}",
        memory_bytes=60 * GIB,
        sm_pct=95.0,
        tp_group=group,
        tp_rank=rank,
        tp_size=size,
        split=split,
        kind="compute",
        started_at=START - 90_000,
    )


def ranks(count: int, *, activity: bool = True, split: str = "tensor", counters: bool = True) -> list[Gpu]:
    """Boards like H100 at work; without `activity` there is no GPM, without `counters` no bytes are counted."""
    return [
        Gpu(
            index=index,
            uuid=f"GPU-{index}",
            name="NVIDIA H100 80GB HBM3",
            utilization_pct=100.0,
            memory_utilization_pct=38.0,
            memory_used_bytes=61 * GIB,
            memory_total_bytes=80 * GIB,
            power_w=600.0,
            power_limit_w=700.0,
            power_limit_default_w=700.0,
            temperature_c=66.0,
            temperature_slowdown_c=87.0,
            sm_clock_mhz=1980,
            sm_clock_max_mhz=1980,
            throttle_reasons=[],
            throttle_seconds={"sw_thermal": 100.0, "hw_thermal": 0.0, "hw_power_brake": 0.0, "sw_power_cap": 900.0},
            sm_activity_pct=62.0 if activity else None,
            pcie=Pcie(gen=5, gen_max=5, width=16, width_max=16, tx_bytes_per_s=0.3e9 if counters else None),
            nvlink=NvLink(active=18, total=18, tx_bytes_per_s=18e9, rx_bytes_per_s=18e9) if counters else None,
            processes=[worker(index, split=split, size=count)],
        )
        for index in range(count)
    ]


def with_bytes(gpu: Gpu, share: float) -> Gpu:
    """As many bytes over the links as that share of what is usual."""
    if gpu.nvlink is None or gpu.pcie is None:
        return gpu
    rate = share * 18e9
    nvlink = structs.replace(gpu.nvlink, tx_bytes_per_s=rate, rx_bytes_per_s=rate)
    return structs.replace(gpu, nvlink=nvlink, pcie=structs.replace(gpu.pcie, tx_bytes_per_s=share * 0.3e9))


def late(culprit: int, *, pace: float = 0.75) -> Change:
    """One rank takes longer: it works on as ever, the others wait for it and draw less."""

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = with_bytes(gpu, pace)
        if gpu.index == culprit:
            return gpu
        activity = None if gpu.sm_activity_pct is None else 12 + 50 * pace
        return structs.replace(gpu, power_w=250 + 350 * pace, sm_activity_pct=activity)

    return change


def held_down(culprit: int, *, clock: float, power_w: float, counter: str | None, **fields: object) -> Change:
    """One rank's clock is down, and a throttle counter runs; the others wait for it."""
    waiting = late(culprit, pace=clock)

    def change(gpu: Gpu, second: int) -> Gpu:
        changed = waiting(gpu, second)
        if gpu.index != culprit:
            return changed
        seconds = dict(gpu.throttle_seconds or {})
        if counter is not None:
            seconds[counter] = seconds.get(counter, 0.0) + second
        return structs.replace(
            changed, sm_clock_mhz=int(1980 * clock), power_w=power_w, throttle_seconds=seconds, **fields
        )

    return change


def spinning(gpu: Gpu, second: int) -> Gpu:
    """All wait in a collective: full utilisation, little power, nothing moves."""
    gpu = with_bytes(gpu, 0.0)
    return structs.replace(
        gpu,
        power_w=110.0,
        memory_utilization_pct=0.0,
        sm_activity_pct=None if gpu.sm_activity_pct is None else 13.0,
    )
