"""Memory that is held while nothing is computed.

How long that has been so is the engine's count, from the first look on: what was before this agent began to watch
nobody knows, and nobody claims.
"""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.attribution.command_line import engine_command
from gpuwatch_agent.attribution.titles import ranks_in_title
from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.idleness import BUSY_PCT, IDLE_POWER_SHARE, WINDOW_S, computing, does_nothing
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.detectors.words import GIB, duration, gib, gpu_list, shortened
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.process import Process

# Programs that wait for requests by trade, beside the engines that attribution knows.
_SERVER = re.compile(
    r"(?:^|[\W_])(?:serve|server|serving|service|router|uvicorn|gunicorn|triton\w*)(?:$|[\W_])", re.ASCII
)


class IdleAllocationSettings(DetectorSettings, frozen=True, kw_only=True):
    """Memory held for long by a job that computes nothing, with the watts and hours it costs."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 1800.0
    # Shorter than the window: a second of work ends the finding, a gap in the readings of half a minute does not.
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 45.0
    # A minute's window already holds every second of work against it: half a minute unread does not undo half an hour.
    unseen_s: Annotated[
        float,
        Meta(
            description="So many seconds it may go unseen, as where readings drop out, before its time starts afresh; each "
            "second in which it was seen wins a quarter of one back.",
            ge=0,
            le=86400,
        ),
    ] = 45.0
    warn_after_s: Annotated[
        float,
        Meta(
            description="From then on it is a warning, unless an engine that waits for requests holds the memory.",
            ge=0,
            le=2592000,
        ),
    ] = 14400.0
    held_gib: Annotated[float, Meta(description="Memory held, in GiB, below which nothing is said.", ge=0, le=1024)] = (
        4.0
    )
    held_pct: Annotated[
        float, Meta(description="Memory held, in percent of the board's, below which nothing is said.", ge=0, le=100)
    ] = 5.0
    busy_pct: Annotated[float, Meta(description="Utilisation above which a GPU is taken to work.", ge=0, le=100)] = (
        BUSY_PCT
    )
    idle_power_pct: Annotated[
        float,
        Meta(
            description="Draw, in percent of the board's default limit, above which a GPU is taken to work.",
            ge=0,
            le=100,
        ),
    ] = IDLE_POWER_SHARE * 100


class IdleAllocationDetector:
    """One finding for a group that is idle as a whole, else one for each GPU."""

    kind: ClassVar[str] = "idle_allocation"
    settings: ClassVar[type[DetectorSettings]] = IdleAllocationSettings

    def detect(self, window: Window, settings: IdleAllocationSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # ends with the first work done
        idle = [view for view in window.gpus if _holds_idly(view, settings)]
        if not idle:
            return []
        found: list[Suspicion] = []
        told: set[str] = set()
        for group in window.groups:
            members = window.members(group)
            if all(view in idle for view in members):
                found.append(_suspicion(window, settings, group.id, members, group))
                told |= set(group.uuids)
        return found + [_suspicion(window, settings, view.uuid, [view]) for view in idle if view.uuid not in told]


def _holds_idly(view: GpuView, settings: IdleAllocationSettings) -> bool:
    gpu = view.gpu
    held, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    if held is None or total is None or held < settings.held_gib * GIB or held < settings.held_pct / 100 * total:
        return False
    # What one slice does can't be told from the whole board's figures.
    if gpu.mig is not None and gpu.mig.enabled:
        return False
    return does_nothing(view, settings.busy_pct, settings.idle_power_pct / 100)


def _suspicion(
    window: Window, settings: IdleAllocationSettings, key: str, views: Sequence[GpuView], group: Group | None = None
) -> Suspicion:
    lasted_s = window.lasted_s.get(key, 0.0)
    holders = [next(iter(computing(view.gpu)), None) for view in views]
    known = [one for one in holders if one is not None]
    serving = bool(known) and all(_waits_for_requests(one) for one in known)
    severity: Severity = "warning" if known and not serving and lasted_s >= settings.warn_after_s else "info"
    held = sum(view.gpu.memory_used_bytes or 0 for view in views)
    watts = [view.mean("power_w", WINDOW_S) for view in views]
    power_w = sum(one for one in watts if one is not None) if None not in watts else None
    who = _who(known[0], group) if known else None
    cost = f"{power_w:.0f} W" if power_w is not None else "unknown power"
    verb = "hold" if len(views) > 1 else "holds"
    summary = (
        f"{gpu_list(view.index for view in views)} {verb} {gib(held)} and has done no work for {duration(lasted_s)}"
    )
    if len(views) > 1:
        summary = summary.replace(" has done", " have done")
    return Suspicion(
        key=key,
        severity=severity,
        gpus=[view.index for view in views],
        summary=f"{summary}, at {cost}: {who or 'no process is listed there'}.",
        cause=_cause(known, serving=serving),
        evidence={
            "held_bytes": held,
            "idle_s": round(lasted_s),
            "power_w": round(power_w, 1) if power_w is not None else None,
            "energy_wh": round(power_w * lasted_s / 3600, 1) if power_w is not None else None,
            "pid": known[0].pid if known else None,
            "user": known[0].user if known else None,
            "pod": known[0].pod if known else None,
            "slurm_job": known[0].slurm_job if known else None,
        },
        action=_action(known, serving=serving),
    )


def _who(process: Process, group: Group | None) -> str:
    """The job, its owner, and where to look for it."""
    name = shortened(group.id if group is not None else process.name or "a process")
    places = [
        f"of {process.user}" if process.user else "",
        f"PID {process.pid}",
        f"Slurm job {process.slurm_job}" if process.slurm_job else "",
        f"pod {process.pod}" if process.pod else "",
        f"container {process.container[:12]}" if process.container and not process.pod else "",
    ]
    owner, *rest = (place for place in places if place)
    return (
        f"{name} {owner}{', ' if rest else ''}{', '.join(rest)}"
        if process.user
        else f"{name} ({', '.join([owner, *rest])})"
    )


def _waits_for_requests(process: Process) -> bool:
    words = tuple((process.command or process.name or "").split())
    command = engine_command(words)
    if command is not None and command.engine != "distributed":
        return True
    return ranks_in_title(" ".join(words[:1])) is not None or _SERVER.search(" ".join(words[:4])) is not None


def _cause(known: Sequence[Process], *, serving: bool) -> str | None:
    if serving:
        return "an engine that keeps its model loaded and waits for requests, which is what engines do"
    return None if known else "memory that outlived its process, or a process in a place this agent can't see"


def _action(known: Sequence[Process], *, serving: bool) -> str:
    if serving:
        return "Nothing, if requests are still expected; else stop the engine, or put its GPUs to other use at night."
    if known:
        return "Ask its owner whether it still runs (`py-spy dump --pid PID` shows where it waits); if not, end it."
    return "Look with `fuser -v /dev/nvidia*` as root for who holds the device, and end it; else reset the GPU."
