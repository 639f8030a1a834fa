from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.clock_loss import clock_loss, clocks_in_words, group_waits, told
from gpuwatch_agent.detectors.phrases import gpus_named
from gpuwatch_agent.detectors.throttle_time import braked_share
from gpuwatch_agent.detectors.together import NODE, has_lasted, how_many, is_shared, since
from gpuwatch_agent.detectors.window import GpuView, Window

_HELD_BY = ("hw_power_brake",)
# Every board has a pin and a cable of its own: two that are braked at once share what feeds them.
_LEAST_OF_A_NODE = 2
_ACTION = (
    'Look at the power supplies and what they feed (`ipmitool sel list`, `ipmitool sdr type "Power Supply"`): '
    "one failed or unplugged, a rack or BMC power limit, a loose power cable at the board. Move the job meanwhile."
)


class PowerBrakeSettings(DetectorSettings, frozen=True, kw_only=True):
    """The power supply or the server tells a GPU to slow down at once, over a pin of its own."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 5.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    least_share: Annotated[
        float, Meta(description="Share of the last 10 s for which the brake must be pulled.", ge=0.0001, le=1)
    ] = 0.01
    critical_share: Annotated[
        float, Meta(description="Share of the last 10 s from which it is critical; below, a warning.", ge=0, le=1)
    ] = 0.2

    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("least_share", "critical_share"),)


class PowerBrakeDetector:
    """The brake is never pulled on a healthy machine, so little of it is enough."""

    kind: ClassVar[str] = "power_brake"
    settings: ClassVar[type[DetectorSettings]] = PowerBrakeSettings

    def detect(self, window: Window, settings: PowerBrakeSettings, raised: frozenset[str]) -> list[Suspicion]:
        braked = [
            (view, share)
            for view in window.gpus
            if view.answers
            and (share := braked_share(view)) is not None
            and share >= settings.least_share * (0.5 if view.uuid in raised or NODE in raised else 1.0)
        ]
        if is_shared(window, [view for view, _ in braked], settings, raised, least=_LEAST_OF_A_NODE):
            return [_of_the_node(window, braked, settings)]
        return [_suspicion(window, view, share, len(braked), settings) for view, share in braked]


def _of_the_node(window: Window, braked: list[tuple[GpuView, float]], settings: PowerBrakeSettings) -> Suspicion:
    """One finding for all of them: what feeds them is one."""
    share = max(share for _, share in braked)
    losses = [loss for view, _ in braked if (loss := clock_loss(window, view, _HELD_BY)) is not None]
    worst = max(losses, key=lambda loss: loss.part, default=None)
    clocks = clocks_in_words(worst)
    indices = [view.index for view, _ in braked]
    return Suspicion(
        key=NODE,
        severity="critical" if share >= settings.critical_share else "warning",
        gpus=indices,
        summary=f"{gpus_named(indices)} {_pulled(share, settings, 'are', 'were')} by the power supply at once (hardware power "
        f"brake){': at worst ' + clocks if clocks else ''}.",
        cause=f"{how_many(window, [view for view, _ in braked])} of the node together: a supply that failed or lost its feed, "
        "or the power limit of server or rack.",
        evidence={"braked_pct": round(100 * share, 1), "gpus_braked": len(braked), **told(worst)},
        action=_ACTION,
        since=since(window, settings),
        certain=has_lasted(window, settings),
    )


def _pulled(share: float, settings: PowerBrakeSettings, now: str, before: str) -> str:
    return (
        f"{now} braked" if share >= settings.critical_share else f"{before} braked for {share:.0%} of the last seconds"
    )


def _suspicion(window: Window, view: GpuView, share: float, braked: int, settings: PowerBrakeSettings) -> Suspicion:
    loss = clock_loss(window, view, _HELD_BY)
    clocks = clocks_in_words(loss)
    waits = group_waits(window, view) if clocks else ""
    return Suspicion(
        key=view.uuid,
        severity="critical" if share >= settings.critical_share else "warning",
        gpus=[view.index],
        summary=f"{view.label} {_pulled(share, settings, 'is', 'was')} by the power supply (hardware power brake)"
        f"{': ' + clocks if clocks else ''}{waits}.",
        cause=_cause(window, braked),
        evidence={
            "braked_pct": round(100 * share, 1),
            "gpus_braked": braked,
            "power_w": view.gpu.power_w,
            **told(loss),
        },
        action=_ACTION,
    )


def _cause(window: Window, braked: int) -> str:
    if braked > 1:
        return f"{braked} of {len(window.gpus)} GPUs are braked together: a supply, the rack's feed or the server's power limit."
    if len(window.gpus) > 1:
        return "Only this GPU is braked: its own power cable, connector or slot."
    return "The server pulls the brake: a supply, the power cable, or its power limit."
