from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.foreign import foreign_processes, memory_held
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.lockstep import lower_median, settled
from gpuwatch_agent.detectors.window import GpuView, Window

_GIB = float(1 << 30)
_LOOK_BACK_S = 30.0


class _Weight(NamedTuple):
    """What the heaviest rank holds, and what is usual."""

    view: GpuView
    gpus: list[int]
    held: int
    usual: float


class MemoryImbalanceSettings(DetectorSettings, frozen=True, kw_only=True):
    """A rank that holds notably more memory than its siblings: it is the first to run out."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 20.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    more_pct: Annotated[
        float, Meta(description="How much more than its siblings, in percent of the board's memory.", ge=1, le=100)
    ] = 5.0
    more_gib: Annotated[float, Meta(description="And at least so many GiB more.", ge=0.1, le=1024)] = 1.0
    headroom_pct: Annotated[
        float, Meta(description="With less free memory than this it is a warning.", ge=0, le=100)
    ] = 5.0


class MemoryImbalanceDetector:
    """Compares what the group's own processes hold; what strangers hold is `noisy_neighbour`'s."""

    kind: ClassVar[str] = "memory_imbalance"
    settings: ClassVar[type[DetectorSettings]] = MemoryImbalanceSettings

    def detect(self, window: Window, settings: MemoryImbalanceSettings, raised: frozenset[str]) -> list[Suspicion]:
        judged = [_judge(window, group, settings, raised) for group in window.groups if group.lockstep]
        return [suspicion for suspicion in judged if suspicion is not None]


def _judge(window: Window, group: Group, settings: MemoryImbalanceSettings, raised: frozenset[str]) -> Suspicion | None:
    views = [view for view in window.members(group) if view.answers and _comparable(view)]
    totals = [view.gpu.memory_total_bytes or 0 for view in views]
    if len(views) < 2 or min(totals) < 0.97 * max(totals) or not settled(window, group):
        return None
    strangers = foreign_processes(window, group)
    held = [(view.gpu.memory_used_bytes or 0) - memory_held(strangers.get(view.uuid, [])) for view in views]
    usual = lower_median(held)
    leniency = 0.7 if group.id in raised else 1.0
    least = leniency * max(settings.more_gib * _GIB, settings.more_pct / 100.0 * max(totals))
    heavy = [place for place, amount in enumerate(held) if amount - usual >= least]
    if not heavy or 2 * len(heavy) > len(views):
        return None
    worst = max(heavy, key=lambda place: held[place])
    gpus = sorted(views[place].index for place in heavy)
    return _suspicion(group, views, _Weight(views[worst], gpus, held[worst], usual), settings)


def _comparable(view: GpuView) -> bool:
    mig = view.gpu.mig
    # A value that was not there half of the time is no ground to compare on.
    return (
        view.gpu.memory_used_bytes is not None
        and view.mean("memory_used_bytes", _LOOK_BACK_S) is not None
        and bool(view.gpu.memory_total_bytes)
        and not (mig is not None and mig.enabled)
    )


def _suspicion(group: Group, views: list[GpuView], heavy: _Weight, settings: MemoryImbalanceSettings) -> Suspicion:
    gpu = heavy.view.gpu
    used, total = gpu.memory_used_bytes or 0, gpu.memory_total_bytes or 1
    free = total - used - (gpu.memory_reserved_bytes or 0)
    others_free = lower_median(
        [(view.gpu.memory_total_bytes or 0) - (view.gpu.memory_used_bytes or 0) for view in views]
    )
    tight = free < settings.headroom_pct / 100.0 * total
    more = heavy.held - heavy.usual
    ending = "it runs out of memory first." if tight else "uneven shards, or something that only this rank keeps."
    return Suspicion(
        key=group.id,
        severity="warning" if tight else "info",
        gpus=heavy.gpus,
        summary=f"{heavy.view.label} holds {more / _GIB:.1f} GiB more than its siblings in the group "
        f"({heavy.held / _GIB:.1f} against {heavy.usual / _GIB:.1f} GiB), {free / _GIB:.1f} GiB are free: {ending}",
        cause="The group's memory is split unevenly.",
        evidence={
            "group": group.id,
            "held_bytes": heavy.held,
            "siblings_held_bytes": int(heavy.usual),
            "more_pct_of_board": round(100.0 * more / total, 1),
            "free_bytes": free,
            "siblings_free_bytes": int(others_free),
        },
        action="Check for stray contexts of other ranks there (`nvidia-smi` lists their PIDs on this GPU; pin each rank with "
        "`CUDA_VISIBLE_DEVICES` or `torch.cuda.set_device`), for layers that only one rank holds, and lower "
        "`--gpu-memory-utilization` or the batch if it is about to run out.",
    )
