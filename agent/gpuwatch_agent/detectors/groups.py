"""Groups of GPUs that work in step: declared in the configuration, else as the processes on them tell."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process

Split = Literal["tensor", "layer", "pipeline", "data", "unknown"]

_SPLITS: tuple[Split, ...] = ("tensor", "layer", "pipeline", "data")


class Group(Struct, frozen=True, kw_only=True):
    """GPUs that one job shares; `uuids` in the order of ranks where ranks are known."""

    id: str
    split: Split
    """How the job shares them: only "tensor" waits in step for its slowest rank at every layer."""
    uuids: list[str]
    indices: list[int]
    ranks: list[int | None]
    declared: bool = False
    source: str | None = None
    size: int | None = None
    """How many ranks the job says it has; more than `uuids` where some are elsewhere or hidden."""

    @property
    def lockstep(self) -> bool:
        """Whether a slow member holds the others up."""
        return self.split in {"tensor", "data"} and len(self.uuids) > 1


def groups_of(gpus: Sequence[Gpu], declared: Mapping[str, Sequence[int]]) -> list[Group]:
    """Declared groups first; a GPU that is in one of them is in no inferred one."""
    by_index = {gpu.index: gpu for gpu in gpus}
    groups: list[Group] = []
    taken: set[str] = set()
    for name, indices in declared.items():
        members = [by_index[index] for index in indices if index in by_index]
        if len(members) < 2:
            continue
        taken |= {gpu.uuid for gpu in members}
        groups.append(
            Group(
                id=name,
                split="tensor",
                uuids=[gpu.uuid for gpu in members],
                indices=[gpu.index for gpu in members],
                ranks=list(range(len(members))),
                declared=True,
                source="the configuration",
                size=len(indices),
            )
        )
    return groups + _inferred(gpus, taken)


def _inferred(gpus: Sequence[Gpu], taken: set[str]) -> list[Group]:
    found: dict[str, list[tuple[int, Gpu, Process]]] = {}
    for gpu in gpus:
        if gpu.uuid in taken:
            continue
        for process in gpu.processes or ():
            if process.tp_group is not None:
                key = process.tp_group
            elif process.split == "layer":
                key = f"{process.name or 'process'}@{process.pid}"
            else:
                continue
            rank = process.tp_rank if process.tp_rank is not None else 1 << 20
            found.setdefault(key, []).append((rank, gpu, process))
    return [group for key, rows in found.items() if (group := _group(key, rows)) is not None]


def _group(key: str, rows: list[tuple[int, Gpu, Process]]) -> Group | None:
    members: dict[str, tuple[int, Gpu, Process]] = {}
    for row in sorted(rows, key=lambda row: (row[0], row[1].index)):
        members.setdefault(row[1].uuid, row)
    if len(members) < 2:
        return None
    first = next(iter(members.values()))[2]
    split: Split = next((known for known in _SPLITS if known == first.split), "unknown")
    return Group(
        id=key,
        split=split,
        uuids=list(members),
        indices=[gpu.index for _, gpu, _ in members.values()],
        ranks=[process.tp_rank for _, _, process in members.values()],
        source=first.tp_source,
        size=first.tp_size,
    )
