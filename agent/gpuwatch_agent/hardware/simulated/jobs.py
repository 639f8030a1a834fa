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
