"""Puts a `Gpu` together from what its collectors gave, in the order of the list: a later one betters an earlier one."""

from collections.abc import Iterable

from gpuwatch_agent.collectors.base import Collected
from gpuwatch_agent.hardware.base import Identity
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Gpu, GpuState, NvLink, Pcie
from gpuwatch_agent.model.process import Process

# Parts that several collectors fill together.
_PARTS: dict[str, type[Pcie] | type[NvLink]] = {"pcie": Pcie, "nvlink": NvLink}
_IDENTITY = (
    "name",
    "pci_bus_id",
    "numa_node",
    "architecture",
    "vbios_version",
    "serial",
    "sm_clock_max_mhz",
    "memory_clock_max_mhz",
)


def build_gpu(
    identity: Identity,
    collected: Iterable[Collected],
    *,
    state: GpuState = "ok",
    problem: str | None = None,
    age_s: float | None = None,
    processes: list[Process] | None = None,
) -> Gpu:
    """One GPU's row; what nobody gave stays `None`."""
    fields: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {}
    # Xids come from a watch beside the readings; whoever keeps one takes this note away.
    absent: dict[str, Absence] = {"xids": Absence.NOT_WATCHED, **identity.absent}
    for name in _IDENTITY:
        value = getattr(identity, name)
        if value is not None:
            fields[name] = value
    for one in collected:
        if one.absent:
            absent.update(one.absent)
        for path, value in one.values.items():
            absent.pop(path, None)
            if "." in path:
                part, _, name = path.partition(".")
                parts.setdefault(part, {})[name] = value
            else:
                fields[path] = value
    for part, values in parts.items():
        fields[part] = _PARTS[part](**values)  # type: ignore[arg-type]  # checked when the frame is decoded
    return Gpu(
        index=identity.index,
        uuid=identity.uuid,
        state=state,
        problem=problem,
        age_s=age_s,
        processes=processes,
        absent=absent,
        **fields,  # type: ignore[arg-type]  # as above
    )
