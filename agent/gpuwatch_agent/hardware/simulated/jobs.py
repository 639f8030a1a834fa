"""Jobs as data: how a workload loads its GPUs when nothing is in its way."""

from typing import Literal

from msgspec import Struct

Split = Literal["tensor", "data", "layer", "service"]


class Job(Struct, frozen=True, kw_only=True):
    """One workload over one or more GPUs."""

    name: str
    split: Split
    """How it shares its GPUs: "tensor" and "data" go in lockstep, "layer" by turns, "service" is alone on its GPU."""
    gpus: tuple[int, ...]
    shares: tuple[float, ...] = ()
    """For "layer": each GPU's part of the layers. For "service": the part of the chip it may use (a MIG instance)."""

    load: float
    """Mean load, 0 to 1."""
    swing: float
    """By how much the load wanders around its mean."""
    wave_s: float = 2400.0
    noise: float = 0.03
    saturates_at: float = 0.45
    """The load from which on the GPUs never run out of work: batches only grow from there."""
    pause_every_s: float = 0.0
    pause_s: float = 0.0
    """Checkpoints: nothing is computed for so long."""

    compute_share: float
    """The part of a step's computing time that the SM clock decides; memory decides the rest."""
    comm_share: float = 0.0
    """The part of a step that goes into collectives when all ranks are equally fast."""
    heat: float
    """How much of the SMs' power it draws while computing."""
    sm_activity: float
    occupancy: float
    tensor: float
    dram: float
    memory_utilization: float

    nvlink_bytes_per_s: float = 0.0
    """Sent by every rank over NVLink at full pace, and as much received."""
    pcie_bytes_per_s: float = 0.0
    """Likewise over PCIe; where it is most of the collective, a narrow link slows the job."""
    comm_over_pcie: bool = False
    tokens_per_s: float
    """At full pace and full load."""
    process: str
    """Which of the machine's processes do its work, by their job name."""


def serving(name: str, gpus: tuple[int, ...], *, load: float, tokens: float, nvlink: float, heat: float = 1.0) -> Job:
    """A large model served by vLLM over NVLink."""
    return Job(
        name=name,
        split="tensor",
        gpus=gpus,
        load=load,
        swing=0.10,
        compute_share=0.92,
        comm_share=0.12,
        heat=0.715 * heat,
        sm_activity=0.78,
        occupancy=0.34,
        tensor=0.36,
        dram=0.62,
        memory_utilization=0.44,
        nvlink_bytes_per_s=nvlink,
        pcie_bytes_per_s=0.35e9,
        tokens_per_s=tokens,
        process=name,
    )


def training(name: str, gpus: tuple[int, ...], *, tokens: float, nvlink: float, pcie: float, comm: float) -> Job:
    """Training in lockstep, with checkpoints."""
    return Job(
        name=name,
        split="data",
        gpus=gpus,
        load=0.96,
        swing=0.02,
        noise=0.02,
        pause_every_s=1_800.0,
        pause_s=24.0,
        compute_share=0.88,
        comm_share=comm,
        heat=0.92,
        sm_activity=0.86,
        occupancy=0.41,
        tensor=0.55,
        dram=0.48,
        memory_utilization=0.52,
        nvlink_bytes_per_s=nvlink,
        pcie_bytes_per_s=pcie,
        comm_over_pcie=nvlink == 0 or pcie > 1e9,
        tokens_per_s=tokens,
        process=name,
    )


def service(name: str, gpu: int, *, load: float, part: float = 1.0, heat: float = 0.7, tokens: float) -> Job:
    """A small model on one GPU, or on a part of one."""
    return Job(
        name=name,
        split="service",
        gpus=(gpu,),
        shares=(part,),
        load=load,
        swing=0.18,
        wave_s=900.0,
        noise=0.06,
        saturates_at=1.0,
        compute_share=0.7,
        heat=heat,
        sm_activity=0.7,
        occupancy=0.3,
        tensor=0.28,
        dram=0.5,
        memory_utilization=0.4,
        pcie_bytes_per_s=0.06e9,
        tokens_per_s=tokens,
        process=name,
    )


def embedding(gpu: int) -> Job:
    """A light neighbour of the large model."""
    return Job(
        name=f"embed-{gpu}",
        split="service",
        gpus=(gpu,),
        shares=(0.05,),
        load=0.25,
        swing=0.1,
        noise=0.08,
        saturates_at=1.0,
        compute_share=0.7,
        heat=0.3,
        sm_activity=0.5,
        occupancy=0.3,
        tensor=0.2,
        dram=0.3,
        memory_utilization=0.2,
        pcie_bytes_per_s=0.02e9,
        tokens_per_s=900.0,
        process="embed",
    )
