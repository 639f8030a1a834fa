"""Which GPUs work in step; one that is lost tells no processes any more and keeps the place it had."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from gpuwatch_agent.detectors.groups import Group, groups_of
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu

_NO_RANK = 1 << 20


class _Place(Struct, frozen=True):
    """Where a GPU stood when it last answered: no group at all is told by an empty one."""

    at: float
    group: str
    rank: int | None


class Memberships:
    """Remembers, frame by frame, the place of every GPU that answers; `declared` are groups by the configuration."""

    def __init__(self, declared: Mapping[str, Sequence[int]] | None = None) -> None:
        self._declared = declared or {}
        self._places: dict[str, _Place] = {}

    def note(self, frame: Frame) -> None:
        """What a frame says of GPUs that answer; older frames do not undo newer ones."""
        at = frame.taken_at
        told = {
            uuid: _Place(at, group.id, rank)
            for group in groups_of(frame.gpus, self._declared)
            for uuid, rank in zip(group.uuids, group.ranks, strict=True)
        }
        for gpu in frame.gpus:
            known = self._places.get(gpu.uuid)
            if gpu.processes is not None and (known is None or known.at <= at):
                self._places[gpu.uuid] = told.get(gpu.uuid) or _Place(at, "", None)

    def groups(self, frame: Frame) -> list[Group]:
        """The groups of that frame in the order of their first GPU, each with the GPUs that it lost."""
        groups = [self._with_lost(group, frame) for group in groups_of(frame.gpus, self._declared)]
        return sorted((group for group in groups if len(group.uuids) > 1), key=lambda group: min(group.indices))

    def _with_lost(self, group: Group, frame: Frame) -> Group:
        members = list(zip(group.ranks, group.indices, group.uuids, strict=True))
        for gpu in frame.gpus:
            place = self._places.get(gpu.uuid)
            is_lost = gpu.state == "lost" and gpu.uuid not in group.uuids
            if is_lost and place is not None and place.group == group.id and place.at <= frame.taken_at:
                members.append((place.rank, gpu.index, gpu.uuid))
        if len(members) == len(group.uuids):
            return group
        members.sort(key=lambda member: (_NO_RANK if member[0] is None else member[0], member[1]))
        return structs.replace(
            group,
            ranks=[rank for rank, _, _ in members],
            indices=[index for _, index, _ in members],
            uuids=[uuid for _, _, uuid in members],
        )


def lost_of(group: Group, gpus: Sequence[Gpu]) -> list[int]:
    """The indices of its GPUs that are lost."""
    return [gpu.index for gpu in gpus if gpu.state == "lost" and gpu.uuid in group.uuids]
