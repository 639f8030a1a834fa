"""Processes on a group's GPUs that are not the group's."""

import re

from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.process import Process

_NUMBERS = re.compile(r"\d+")
# Less than this is a program that waits, as a notebook does.
_IDLE_SM_PCT = 3.0


def foreign_processes(window: Window, group: Group) -> dict[str, list[Process]]:
    """By UUID: processes that belong to no group and have no like on most of the group's other GPUs.

    Small services that run alike on every GPU of a node are how somebody has planned it, and slow no single rank.
    """
    key = f"foreign/{group.id}"
    if key not in window.memo:
        window.memo[key] = _foreign_processes(window.members(group), group)
    found = window.memo[key]
    return found if isinstance(found, dict) else {}


def computing_strangers(window: Window, group: Group) -> dict[str, list[Process]]:
    """By UUID: those of them that may take work from the group; a desktop that nobody has seen computing does not."""
    found = {}
    for uuid, processes in foreign_processes(window, group).items():
        able = [one for one in processes if one.kind != "graphics" or one.sm_pct is not None]
        share = sm_share(able)
        if able and (share is None or share >= _IDLE_SM_PCT):
            found[uuid] = able
    return found


def worst_of(processes: list[Process]) -> Process:
    """The one that takes most, as far as anybody knows."""
    return max(processes, key=lambda one: (one.sm_pct or 0.0, one.memory_bytes or 0))


def _foreign_processes(views: list[GpuView], group: Group) -> dict[str, list[Process]]:
    strangers = {view.uuid: [one for one in view.gpu.processes or () if _is_stranger(one, group)] for view in views}
    if not any(strangers.values()):
        return {}
    spread: dict[str, int] = {}
    for processes in strangers.values():
        for likeness in {_likeness(one) for one in processes}:
            spread[likeness] = spread.get(likeness, 0) + 1
    most = max(2, (len(views) + 1) // 2)
    found = {uuid: [one for one in processes if spread[_likeness(one)] < most] for uuid, processes in strangers.items()}
    return {uuid: processes for uuid, processes in found.items() if processes}


def _is_stranger(process: Process, group: Group) -> bool:
    if process.tp_group == group.id or process.kind == "mps" or process.gpu_instance is not None:
        return False
    # The ranks of a declared group belong to groups that were inferred, or to none that can be told.
    if group.declared:
        return process.tp_group is None and process.split is None
    return True


def _likeness(process: Process) -> str:
    """What stays the same from GPU to GPU: the command without its numbers (ranks, ports, paths of instances)."""
    return f"{process.user} {_NUMBERS.sub('#', process.command or process.name or '?')}"


def sm_share(processes: list[Process]) -> float | None:
    """Percent of the SMs that they take together, where the driver tells."""
    known = [one.sm_pct for one in processes if one.sm_pct is not None]
    return sum(known) if known else None


def memory_held(processes: list[Process]) -> int:
    """Bytes that they hold together, as far as the driver tells."""
    return sum(one.memory_bytes or 0 for one in processes)


def named(process: Process) -> str:
    """A process as people look for it: name, PID, and whose it is."""
    owner = f" of user {process.user}" if process.user else ""
    return f"{process.name or 'a process'} (PID {process.pid}{owner})"
