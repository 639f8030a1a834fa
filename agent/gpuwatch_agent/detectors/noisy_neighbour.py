from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.foreign import foreign_processes, memory_held, named, sm_share
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

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("info_sm_pct", "warning_sm_pct"),)


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
                    suspicion = _judge(group, view, processes, settings, lenient=view.uuid in raised)
                    if suspicion is not None:
                        found[view.uuid] = suspicion
        return list(found.values())


def _works(view: GpuView) -> bool:
    busy = view.mean("utilization_pct", _WINDOW_S)
    return busy is not None and busy >= 20.0


def _judge(
    group: Group, view: GpuView, processes: list[Process], settings: NoisyNeighbourSettings, *, lenient: bool
) -> Suspicion | None:
    gpu = view.gpu
    total = gpu.memory_total_bytes
    held = memory_held(processes)
    share = sm_share(processes)
    leniency = 0.6 if lenient else 1.0
    takes_sms = share is not None and share >= leniency * settings.info_sm_pct
    takes_memory = bool(total) and held >= leniency * settings.memory_pct / 100.0 * (total or 1)
    if not takes_sms and not takes_memory:
        return None
    worst = max(processes, key=lambda one: (one.sm_pct or 0.0, one.memory_bytes or 0))
    free = total - (gpu.memory_used_bytes or 0) if total and gpu.memory_used_bytes is not None else None
    tight = takes_memory and free is not None and free < settings.headroom_pct / 100.0 * (total or 1)
    serious = tight or (share is not None and share >= settings.warning_sm_pct)
    severity: Severity = "warning" if serious else "info"
    parts = [f"{share:.0f} % of its SMs" if takes_sms and share is not None else "", f"{held / _GIB:.1f} GiB"]
    return Suspicion(
        key=view.uuid,
        severity=severity,
        gpus=[view.index],
        summary=f"{view.label} is shared with a stranger to its group: {named(worst)} takes "
        f"{' and '.join(part for part in parts if part)}; the other {len(group.uuids) - 1} wait for what it slows.",
        cause="A program that is no member of the group runs on the same GPU.",
        evidence={
            "group": group.id,
            "foreign_pid": worst.pid,
            "foreign_user": worst.user,
            "foreign_command": (worst.command or "")[:120] or None,
            "foreign_processes": len(processes),
            "foreign_sm_pct": share,
            "foreign_memory_bytes": held,
            "free_bytes": free,
        },
        action=f"Ask {worst.user or 'its owner'} to move PID {worst.pid} to a free GPU, or keep GPUs apart with "
        "`CUDA_VISIBLE_DEVICES`, a scheduler, MIG or exclusive compute mode.",
    )
