"""Jobs that sit badly while better seats are free.

Across sockets or plain PCIe beside idle NVLink siblings, or beside idle GPUs that an environment variable hides.
"""

from collections.abc import Container, Sequence
from itertools import combinations
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.attribution.command_line import engine_command
from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.idleness import computing, is_free
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.detectors.words import gpu_list, shortened
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import LEGEND, Topology

# From near to far. NVLink of any width is nearest: how wide it is matters less than whether it is there.
_NVLINK = 0
_DISTANCE = {"PIX": 1, "PXB": 2, "PHB": 3, "NODE": 4, "SYS": 5, "MIG": 6}
_FAR = _DISTANCE["PHB"]
# MIG takes peer-to-peer away, over NVLink and over PCIe: ranks in slices meet in the host's memory (MIG user guide).
_SLICED = "MIG"
_SLICED_CAUSE = "MIG: no peer-to-peer between slices, so all they exchange goes through the host's memory"
# These take every GPU they see unless told otherwise, so one that they do not see is one that they would take.
_TAKE_ALL = frozenset({"llama.cpp", "ollama"})


class SlowPlacementSettings(DetectorSettings, frozen=True, kw_only=True):
    """A job on GPUs that are far from each other, or on fewer than it could have, while better ones are idle."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 300.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    hidden_gpus: Annotated[
        bool, Meta(description="Whether to tell of idle GPUs that CUDA_VISIBLE_DEVICES hides from a job.")
    ] = True


class SlowPlacementDetector:
    """Speaks only where idle GPUs of the same model would do better."""

    kind: ClassVar[str] = "slow_placement"
    settings: ClassVar[type[DetectorSettings]] = SlowPlacementSettings

    def detect(self, window: Window, settings: SlowPlacementSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # seats are free or not
        free = [view for view in window.gpus if is_free(view)]
        if not free:
            return []
        found = [one for group in window.groups if (one := _far_apart(window, group, free)) is not None]
        if settings.hidden_gpus:
            found += [one for job in _jobs(window) if (one := _hidden(window, job, free)) is not None]
        return found


class _Wiring:
    """Distances between GPUs by UUID; `None` where the wiring is not known."""

    def __init__(self, topology: Topology, sliced: Container[str]) -> None:
        self._sliced = sliced
        self._places = {gpu.uuid: place for place, gpu in enumerate(topology.gpus)}
        self._matrix = topology.matrix

    def word(self, one: str, other: str) -> str | None:
        if one in self._sliced or other in self._sliced:
            return _SLICED
        here, there = self._places.get(one), self._places.get(other)
        return self._matrix[here][there] if here is not None and there is not None else None

    def distance(self, one: str, other: str) -> int | None:
        word = self.word(one, other)
        if word is None:
            return None
        return _NVLINK if word.startswith("NV") else _DISTANCE.get(word)

    def farthest(self, uuids: Sequence[str]) -> tuple[int, str, str] | None:
        """The largest distance among them and between whom; nothing where one of the distances is unknown."""
        worst: tuple[int, str, str] | None = None
        for one, other in combinations(uuids, 2):
            distance = self.distance(one, other)
            if distance is None:
                return None
            if worst is None or distance > worst[0]:
                worst = (distance, one, other)
        return worst

    def cluster(self, candidates: Sequence[GpuView], size: int, within: int) -> list[GpuView] | None:
        """So many that are all near each other, grown from each in turn: enough for switches, sockets and bridges."""
        for seed in candidates:
            chosen = [seed]
            for view in candidates:
                if view is not seed and all(self._near(view, one, within) for one in chosen):
                    chosen.append(view)
                    if len(chosen) == size:
                        return sorted(chosen, key=lambda one: one.index)
        return None

    def _near(self, one: GpuView, other: GpuView, within: int) -> bool:
        distance = self.distance(one.uuid, other.uuid)
        return distance is not None and distance <= within


def _far_apart(window: Window, group: Group, free: Sequence[GpuView]) -> Suspicion | None:
    members = window.members(group)
    if not group.lockstep or any(not view.answers or view.gpu.name is None for view in members):
        return None
    models = {view.gpu.name for view in members}
    seats = [view for view in free if view.gpu.name in models and view not in members]
    topology = window.topology if len(models) == 1 and seats else None
    if topology is None:
        return None
    wiring = _Wiring(topology, {view.uuid for view in members if view.gpu.mig is not None and view.gpu.mig.enabled})
    worst = wiring.farthest(group.uuids)
    if worst is None or worst[0] < _FAR:
        return None
    # The members first: the fewer have to move, the better.
    candidates = [*members, *seats]
    better = wiring.cluster(candidates, len(members), _NVLINK)
    if better is None and worst[0] >= _DISTANCE["SYS"]:
        better = wiring.cluster(candidates, len(members), _DISTANCE["NODE"])
    return _move(group, wiring, worst, better) if better is not None else None


def _move(group: Group, wiring: _Wiring, worst: tuple[int, str, str], better: Sequence[GpuView]) -> Suspicion:
    word = wiring.word(worst[1], worst[2]) or ""
    best = wiring.farthest([view.uuid for view in better])
    best_word = (wiring.word(best[1], best[2]) or "") if best is not None else ""
    sliced = word == _SLICED
    # Slices are mostly handed out on purpose: that whole GPUs would be faster is worth a remark.
    linked = best is not None and best[0] == _NVLINK and not sliced
    idle = [view.index for view in better if view.uuid not in group.uuids]
    wanted = ",".join(str(view.index) for view in better)
    return Suspicion(
        key=f"{group.id}/links",
        severity="warning" if linked else "info",
        gpus=sorted(group.indices),
        summary=f"Group {shortened(group.id)} on {'slices of ' if sliced else ''}{gpu_list(group.indices)} meets "
        f"{'in host memory (MIG)' if sliced else f'over {word}'}, while {gpu_list(idle)} "
        f"{'is' if len(idle) == 1 else 'are'} idle: on {gpu_list(view.index for view in better)} it would have {best_word}.",
        cause=_SLICED_CAUSE if sliced else f"{word}: {LEGEND.get(word, 'PCIe')}",
        evidence={"between": word, "better": wanted, "better_between": best_word, "group": group.id},
        action=f"Start it again with CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={wanted}, or have the scheduler "
        "place by topology.",
    )


class _Job(Struct):
    """Processes that share GPUs on purpose."""

    key: str
    indices: set[int]
    processes: list[Process]


def _jobs(window: Window) -> list[_Job]:
    """Jobs on several GPUs, and engines that would take all there are."""
    jobs: dict[str, _Job] = {}
    for view in window.gpus:
        for process in computing(view.gpu):
            key = process.tp_group or (f"{process.name or 'process'}@{process.pid}" if _takes_all(process) else None)
            if key is not None and process.visible_gpus is not None:
                job = jobs.setdefault(key, _Job(key, set(), []))
                job.indices.add(view.index)
                job.processes.append(process)
    return [job for job in jobs.values() if len(job.indices) > 1 or _takes_all(job.processes[0])]


def _takes_all(process: Process) -> bool:
    if process.split == "layer":
        return True
    command = engine_command(tuple((process.command or "").split()))
    return command is not None and command.engine in _TAKE_ALL


def _hidden(window: Window, job: _Job, free: Sequence[GpuView]) -> Suspicion | None:
    values = {process.visible_gpus for process in job.processes}
    # Whom a scheduler or a container runtime confined is where it shall be; a launcher may give each rank its own.
    if len(values) != 1 or any(one.slurm_job or one.pod or one.container for one in job.processes):
        return None
    value = values.pop() or ""
    named = [part.strip() for part in value.split(",") if part.strip()]
    if not all(part.isdigit() or part.startswith("GPU-") for part in named) or len(set(named)) != len(job.indices):
        return None
    mine = {view.gpu.name for view in window.gpus if view.index in job.indices}
    alike = [view for view in window.gpus if view.gpu.name in mine and not (view.gpu.mig and view.gpu.mig.enabled)]
    hidden = [view.index for view in free if view in alike and view.index not in job.indices]
    if not hidden or len(mine) != 1:
        return None
    return Suspicion(
        key=f"{job.key}/visible",
        severity="info",
        gpus=sorted(job.indices),
        summary=f"{shortened(job.key)} runs on {len(job.indices)} of {len(alike)} GPUs: CUDA_VISIBLE_DEVICES="
        f"{shortened(value, 40)} hides {gpu_list(hidden)} from it, {'which is' if len(hidden) == 1 else 'which are'} idle.",
        cause="CUDA_VISIBLE_DEVICES in its environment, which may be left from another day",
        evidence={"cuda_visible_devices": value, "idle": ",".join(map(str, hidden)), "user": job.processes[0].user},
        action="If that was not meant, `unset CUDA_VISIBLE_DEVICES` in the shell or service file that starts it, and "
        "start it again.",
    )
