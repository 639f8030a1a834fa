from msgspec import Struct


class Process(Struct, frozen=True, kw_only=True, gc=False):
    """One process that holds a context on a GPU, as far as this user may see it."""

    pid: int
    user: str | None = None
    name: str | None = None
    command: str | None = None
    memory_bytes: int | None = None
    sm_pct: float | None = None
    container: str | None = None
    pod: str | None = None
    slurm_job: str | None = None
    tp_group: str | None = None
    tp_rank: int | None = None
    tp_size: int | None = None
    """How many ranks the group has, where the evidence tells."""
    tp_source: str | None = None
    """What the group and rank were inferred from, in words."""
    split: str | None = None
    """"tensor", "layer", "pipeline" or "data": how the job shares its GPUs, where known."""
    kind: str | None = None
    """"compute", "graphics", "mps", or "compute+graphics" when the driver lists it as both."""
    started_at: float | None = None
    gpu_instance: int | None = None
    """The MIG GPU instance the process lives in."""
    visible_gpus: str | None = None
    """What CUDA_VISIBLE_DEVICES says for it: in its own environment, else in the nearest ancestor's that has it."""
    visible: bool = True
    """False where the PID can't be seen from here: another PID namespace, or gone since."""
