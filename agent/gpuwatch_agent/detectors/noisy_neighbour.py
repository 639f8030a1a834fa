from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.blame import blame
from gpuwatch_agent.detectors.foreign import foreign_processes, memory_held, named, sm_share, worst_of
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.process import Process

_GIB = float(1 << 30)
_WINDOW_S = 20.0


class NoisyNeighbourSettings(DetectorSettings, frozen=True, kw_only=True):
    """A program on a GPU of a working group that does not belong to it, and takes SMs or memory from it."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 12.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 45.0
    info_sm_pct: Annotated[
        float, Meta(description="From this share of the SMs on it is told, as information.", ge=0, le=100)
    ] = 5.0
    warning_sm_pct: Annotated[
        float, Meta(description="From this share of the SMs on it is a warning.", ge=0, le=100)
    ] = 10.0
    memory_pct: Annotated[
        float, Meta(description="From this share of the board's memory on it is told, SMs or not.", ge=0, le=100)
    ] = 5.0
    headroom_pct: Annotated[
        float, Meta(description="With less free memory than this its memory is a warning.", ge=0, le=100)
    ] = 2.0
    info_loss_pct: Annotated[
        float,
        Meta(description="From this loss of the group's pace to it on it is told, whatever it takes.", ge=1, le=100),
    ] = 6.0
    warning_loss_pct: Annotated[
        float, Meta(description="From this loss of the group's pace to it on it is a warning.", ge=1, le=100)
    ] = 10.0

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (
        ("info_sm_pct", "warning_sm_pct"),
        ("info_loss_pct", "warning_loss_pct"),
    )


class NoisyNeighbourDetector:
    """Small services that run alike on most GPUs of the group do not count: somebody has planned them."""

    kind: ClassVar[str] = "noisy_neighbour"
    settings: ClassVar[type[DetectorSettings]] = NoisyNeighbourSettings

    def detect(self, window: Window, settings: NoisyNeighbourSettings, raised: frozenset[str]) -> list[Suspicion]:
        found: dict[str, Suspicion] = {}
        for group in window.groups:
            strangers = foreign_processes(window, group)
            for view in window.members(group):
                processes = strangers.get(view.uuid)
                if processes and view.uuid not in found and view.answers and _works(view):
                    lenient = view.uuid in raised
                    loss = _blamed_for(window, group, view, settings, lenient=lenient)
                    suspicion = _judge(_Shared(group, view, processes, loss), settings, lenient=lenient)
                    if suspicion is not None:
                        found[view.uuid] = suspicion
        return list(found.values())


class _Shared(Struct, frozen=True):
    """A GPU of a group with strangers on it."""

    group: Group
    view: GpuView
    processes: list[Process]
    loss: float
    """The share of its pace that the group is found to lose to them; 0 where it is not."""


def _blamed_for(
    window: Window, group: Group, view: GpuView, settings: NoisyNeighbourSettings, *, lenient: bool
) -> float:
    """What the imbalance of the group is put down to: who is named there as the cause is named here too."""
    named = window.named.get(("tp_imbalance", group.id), frozenset()) | ({view.index} if lenient else set())
    blamed = blame(window, group, settings.info_loss_pct, named=named)
    if blamed is None or blamed.cause is None or blamed.cause.name != NoisyNeighbourDetector.kind:
        return 0.0
    return blamed.late[0].loss if blamed.late[0].rank.view is view else 0.0


def _works(view: GpuView) -> bool:
    busy = view.mean("utilization_pct", _WINDOW_S)
    return busy is not None and busy >= 20.0


def _judge(shared: _Shared, settings: NoisyNeighbourSettings, *, lenient: bool) -> Suspicion | None:
    gpu = shared.view.gpu
    total = gpu.memory_total_bytes
    held = memory_held(shared.processes)
    share = sm_share(shared.processes)
    leniency = 0.6 if lenient else 1.0
    takes_sms = share is not None and share >= leniency * settings.info_sm_pct
    takes_memory = bool(total) and held >= leniency * settings.memory_pct / 100.0 * (total or 1)
    if not takes_sms and not takes_memory and not shared.loss:
        return None
    free = total - (gpu.memory_used_bytes or 0) if total and gpu.memory_used_bytes is not None else None
    tight = takes_memory and free is not None and free < settings.headroom_pct / 100.0 * (total or 1)
    serious = (
        tight
        or (share is not None and share >= settings.warning_sm_pct)
        or 100.0 * shared.loss >= settings.warning_loss_pct
    )
    return _suspicion(shared, "warning" if serious else "info", share if takes_sms else None, free)


def _suspicion(shared: _Shared, severity: Severity, sms_taken: float | None, free_bytes: int | None) -> Suspicion:
    group, view, processes = shared.group, shared.view, shared.processes
    worst, held = worst_of(processes), memory_held(processes)
    takes = [f"{sms_taken:.0f} % of its SMs" if sms_taken is not None else "", f"{held / _GIB:.1f} GiB" if held else ""]
    taken = " and ".join(part for part in takes if part)
    others = len(group.uuids) - 1
    cost = (
        f"the group runs at about {100 * (1 - shared.loss):.0f} % of its pace"
        if shared.loss
        else f"the other {others} wait for what it slows"
        if others > 1
        else "the other GPU waits for what it slows"
    )
    return Suspicion(
        key=view.uuid,
        severity=severity,
        gpus=[view.index],
        summary=f"{view.label} is shared with a stranger to its group: {named(worst)} "
        f"{f'takes {taken}' if taken else 'runs there'}; {cost}.",
        cause="A program that is no member of the group runs on the same GPU.",
        evidence={
            "group": group.id,
            "foreign_pid": worst.pid,
            "foreign_user": worst.user,
            "foreign_command": (worst.command or "")[:120] or None,
            "foreign_processes": len(processes),
            "foreign_sm_pct": sm_share(processes),
            "foreign_memory_bytes": held,
            "free_bytes": free_bytes,
            "pace_estimated": round(1 - shared.loss, 2) if shared.loss else None,
        },
        action=f"Ask {worst.user or 'its owner'} to move PID {worst.pid} to a free GPU, or keep GPUs apart with "
        "`CUDA_VISIBLE_DEVICES`, a scheduler, MIG or exclusive compute mode.",
    )
