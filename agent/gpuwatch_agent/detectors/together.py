"""Faults that most GPUs of a node have in the same minutes: what they share is the cause, so they are told as one."""

from collections.abc import Sequence

from gpuwatch_agent.detectors.base import DetectorSettings
from gpuwatch_agent.detectors.lockstep import lower_median
from gpuwatch_agent.detectors.window import GpuView, Window

NODE = "node"
"""The key of what is said of the node as a whole."""
_MOST = 0.5
# What part of the GPUs lets it stay one finding once it is: in a room that cools down they recover one by one.
_MOST_TO_STAY = 0.3
# Most must have it for this part of the time that a finding takes: one that lasts and others that twitch are no common fault.
_LASTS = 0.5


def is_shared(
    window: Window, suspected: Sequence[GpuView], settings: DetectorSettings, raised: frozenset[str], *, least: int
) -> bool:
    """Whether what these GPUs have is to be told of the node; `least` is the number below which it proves nothing.

    Until it is time to speak each is suspected by itself, so that what is said comes no later than it would of one.
    """
    answering = sum(view.answers for view in window.gpus)
    if NODE in raised:
        return len(suspected) >= 2 and len(suspected) > _MOST_TO_STAY * answering
    if len(suspected) < least or len(suspected) <= _MOST * answering:
        return False
    lasted_s = [window.lasted_s.get(view.uuid, 0.0) for view in suspected]
    return max(lasted_s) >= settings.raise_after_s and lower_median(lasted_s) >= _LASTS * settings.raise_after_s


def has_lasted(window: Window, settings: DetectorSettings) -> bool:
    """Whether it may be said at once, for it has lasted on the single GPUs; not while the machine has just started."""
    return window.uptime_s is None or window.uptime_s >= settings.boot_grace_s


def since(window: Window, settings: DetectorSettings) -> float:
    """Unix seconds: it had lasted on the single GPUs for as long as a finding takes when it was told of the node."""
    return window.wall - window.lasted_s.get(NODE, 0.0) - settings.raise_after_s


def how_many(window: Window, hit: Sequence[GpuView]) -> str:
    """As `All 8 GPUs` or `6 of 8 GPUs`."""
    return f"All {len(hit)} GPUs" if len(hit) == len(window.gpus) else f"{len(hit)} of {len(window.gpus)} GPUs"
