"""The slices of GPUs in MIG mode."""

from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View
from gpuwatch_exporters.prometheus.gpus import GPU, answering, identity, text

INFO = Family(
    name="gpuwatch_gpu_mig_info",
    help="What the MIG slice is; always 1.",
    labels=(*GPU, "mig", "mig_uuid", "profile"),
    source="nvmlDeviceGetMigDeviceHandleByIndex",
    path="mig.instances[]",
)
_MEMORY = "nvmlDeviceGetMemoryInfo_v2"
MEMORY_USED = Family(
    name="gpuwatch_gpu_mig_memory_used_bytes",
    help="Memory of the slice in use.",
    labels=(*GPU, "mig"),
    source=_MEMORY,
    path="mig.instances[].memory_used_bytes",
)
MEMORY_SIZE = Family(
    name="gpuwatch_gpu_mig_memory_size_bytes",
    help="Memory of the slice.",
    labels=(*GPU, "mig"),
    source=_MEMORY,
    path="mig.instances[].memory_total_bytes",
)
SM_ACTIVITY = Family(
    name="gpuwatch_gpu_mig_sm_activity_ratio",
    help="Share of the slice's streaming multiprocessors with work, over time.",
    labels=(*GPU, "mig"),
    source="nvmlGpmMigSampleGet",
    path="mig.instances[].sm_activity_pct",
)


def _profile(name: str | None) -> str:
    """What the driver's name for a slice ends with: "3g.40gb"."""
    return (name or "").rpartition("MIG ")[2]


def _write(view: View, page: Page) -> None:
    infos, used, size, activity = (page.of(family) for family in (INFO, MEMORY_USED, MEMORY_SIZE, SM_ACTIVITY))
    for gpu in answering(view):
        for slice_ in gpu.mig.instances if gpu.mig is not None else ():
            mine = (*identity(gpu), str(slice_.index))
            infos[(*mine, text(slice_.uuid), _profile(slice_.name))] = 1
            if slice_.memory_used_bytes is not None:
                used[mine] = slice_.memory_used_bytes
            if slice_.memory_total_bytes is not None:
                size[mine] = slice_.memory_total_bytes
            if slice_.sm_activity_pct is not None:
                activity[mine] = round(slice_.sm_activity_pct * 0.01, 12)


MIG = Subject(
    name="mig",
    help="MIG slices: profile, memory, activity",
    families=(INFO, MEMORY_USED, MEMORY_SIZE, SM_ACTIVITY),
    writers=(_write,),
)
