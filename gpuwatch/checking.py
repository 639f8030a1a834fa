"""Looking for a while, and what was found: the work of `gpuwatch check`, without its words."""

import time
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec
from msgspec import Struct, structs

from gpuwatch.source import Source
from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import DetectorSettings
from gpuwatch_agent.detectors.gpu_stale import GpuStaleSettings
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.detectors.words import gpu_list
from gpuwatch_agent.hardware.choose import make_hardware
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.errors import DriverUnavailableError
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.oneshot import Watcher

LOOK_EVERY_S = 1.0
# Rates need a second reading and windows some seconds: what looks wrong from here on to the end has lasted.
_SETTLING_S = 5.0
# Kinds that ask for more patience than this are about minutes; in seconds they would cry wolf.
_LONG_S = 60.0
# These judge a minute's errors: what has come together in a few readings is looked at again for half the patience.
_COUNTED = frozenset({"pcie_errors", "nvlink_errors", "ecc_uncorrected"})
_LEAST_SILENCE_S = 10.0
# A storm of errors shows by growing in one reading after the other, so a short watch needs more of them.
_SLOW_READINGS = 15
_ORDER = {"critical": 0, "warning": 1, "info": 2}


class NotJudged(Struct, frozen=True, kw_only=True):
    """A kind of finding about which nothing can be said, and why."""

    kind: str
    reason: str


class SeenFinding(Finding, frozen=True, kw_only=True):
    """A finding that was open at some moment of the watch; `over` where it was so no more at the end."""

    over: bool = False


class Eyes(Protocol):
    """Something that can look at a node once more."""

    def look(self) -> Frame:
        """The node now, with its findings; waits for its turn where it must."""

    def not_judged(self) -> list[NotJudged]:
        """What it has no eye for."""


class Seen:
    """All that was found, look by look."""

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = kinds
        self._found: dict[tuple[str, str], SeenFinding] = {}
        self.first: Frame | None = None
        self.last: Frame | None = None

    def add(self, frame: Frame) -> None:
        """What this look shows."""
        self.first = self.first or frame
        self.last = frame
        over = {key: structs.replace(finding, over=True) for key, finding in self._found.items()}
        now = {
            (finding.kind, finding.key or str(finding.gpus)): SeenFinding(**structs.asdict(finding))
            for finding in frame.findings
            if finding.kind in self._kinds
        }
        self._found = over | now

    @property
    def findings(self) -> list[SeenFinding]:
        """The worst first; among equals those that last, what an Xid alone says last of all, then the older."""
        return sorted(
            self._found.values(),
            key=lambda found: (_ORDER[found.severity], found.over, found.kind == "xid", found.since),
        )

    @property
    def watched_s(self) -> float:
        """Between the first look and the last."""
        if self.first is None or self.last is None:
            return 0.0
        return round(self.last.taken_at - self.first.taken_at, 3)

    @property
    def blind(self) -> bool:
        """Whether no GPU could be read and nothing says why in a finding."""
        frame = self.last
        return frame is None or not (frame.gpus and (self._found or any(gpu.state == "ok" for gpu in frame.gpus)))


def watch(eyes: Eyes, looks: int, seen: Seen, told: Callable[[int, Seen], None] = lambda _count, _seen: None) -> None:
    """Look so many times; who is interrupted has in `seen` what there was until then."""
    for count in range(looks):
        seen.add(eyes.look())
        told(count, seen)


def looks_for(seconds: float, *, least: int) -> int:
    """How many looks, one a second, a watch of that length takes."""
    return max(least, int(seconds // LOOK_EVERY_S) + 1)


class LocalEyes:
    """This machine, read in this process; a simulated machine's time passes at once, unless its driver is slow."""

    least_looks = 2
    """Rates need a second reading."""

    def __init__(self, config: Config, seconds: float, kinds: Collection[str]) -> None:
        hasty, self._too_long = hurried(config, seconds, kinds)
        self._last: Frame | None = None
        if _passes_at_once(hasty.hardware.simulate):
            from gpuwatch_agent.hardware.simulated.passing_time import PassingTime

            clock = PassingTime(time.time() - max(seconds, LOOK_EVERY_S))
            hardware = make_hardware(hasty, simulation_clock=clock)
            self._watcher = Watcher(hardware, hasty, clock=clock, wall_clock=clock, pause=clock.wait)
        else:
            self._watcher = Watcher(make_hardware(hasty), hasty)

    def look(self) -> Frame:
        """Wait for the next second, and read; a driver that goes away meanwhile is found, and no reason to stop."""
        try:
            frame = self._watcher.next_frame()
        except DriverUnavailableError as error:
            if self._last is None:
                raise
            return self._watcher.frame_without_driver(error)
        self._last = frame
        return frame

    def not_judged(self) -> list[NotJudged]:
        """Kinds that take longer than this watch, what this user may not see, and detectors that failed."""
        unseen = [] if self._last is None else _not_permitted(self._last)
        failed = self._watcher.judge.engine.errors.items()
        bugs = [NotJudged(kind=kind, reason=f"its detector failed, which is a bug: {error}") for kind, error in failed]
        return [*self._too_long, *unseen, *bugs]

    def close(self) -> None:
        """Let go of the driver."""
        self._watcher.close()


class RemoteEyes:
    """A node whose agent has been watching all the time, and judges by itself."""

    least_looks = 1

    def __init__(self, source: Source, pause: Callable[[float], None] = time.sleep) -> None:
        self._source = source
        self._pause = pause
        self._begun = False

    def look(self) -> Frame:
        """What the agent says; after the first look a second later."""
        if self._begun:
            self._pause(LOOK_EVERY_S)
        self._begun = True
        return self._source.frame(rates=True)

    def not_judged(self) -> list[NotJudged]:
        """Nothing: patience is the agent's own affair."""
        return []

    def close(self) -> None:
        """Nothing is held."""


def _passes_at_once(machine: str) -> bool:
    """Whether it is a simulated machine that nobody has to wait for."""
    if not machine:
        return False
    from gpuwatch_agent.hardware.simulated.spec import parse_spec

    return not parse_spec(machine).takes_real_time


def hurried(config: Config, seconds: float, kinds: Collection[str]) -> tuple[Config, list[NotJudged]]:
    """The configuration for a watch of that length: what looks wrong for all of it is said; other kinds are off."""
    patience_s = max(0.0, seconds - _SETTLING_S)
    findings: dict[str, dict[str, object]] = {}
    too_long: list[NotJudged] = []
    for detector in DETECTORS:
        given = config.findings.get(detector.kind, {})
        settings = msgspec.convert(given, detector.settings)
        needed_s, least_s = settings.raise_after_s, settings.least_watch_s()
        if not settings.enabled or detector.kind not in kinds:
            findings[detector.kind] = {**given, "enabled": False}
        elif needed_s > max(_LONG_S, seconds):
            # It stays on: what is certain is said at once.
            findings[detector.kind] = dict(given)
            too_long.append(NotJudged(kind=detector.kind, reason=f"it takes --for {needed_s:g}"))
        else:
            if least_s > seconds:
                too_long.append(NotJudged(kind=detector.kind, reason=f"it takes --for {least_s:g}"))
            findings[detector.kind] = {**given, **_shortened(detector.kind, settings, patience_s)}
    slow_s = min(config.sampling.slow_s, max(LOOK_EVERY_S, seconds / _SLOW_READINGS))
    too_long.sort(key=lambda one: float(one.reason.rpartition(" ")[2]))
    sampling = structs.replace(config.sampling, interval_s=LOOK_EVERY_S, slow_s=slow_s)
    return structs.replace(config, findings=findings, sampling=sampling), too_long


def _shortened(kind: str, settings: DetectorSettings, patience_s: float) -> dict[str, object]:
    """The settings that a watch cuts short."""
    patience_here_s = patience_s / 2 if kind in _COUNTED else patience_s
    shorter: dict[str, object] = {"raise_after_s": min(settings.raise_after_s, patience_here_s)}
    if isinstance(settings, GpuStaleSettings):
        # A GPU that is silent for all of the watch is not fit for work, however short the watch.
        shorter["critical_after_s"] = min(settings.critical_after_s, max(_LEAST_SILENCE_S, patience_s))
    return shorter


def _not_permitted(frame: Frame) -> list[NotJudged]:
    """Which readings this user is refused, each once with the GPUs that it is missing on."""
    refused: dict[str, list[int]] = {}
    for gpu in frame.gpus:
        for path, why in gpu.absent.items():
            if why == Absence.NO_PERMISSION:
                refused.setdefault(path, []).append(gpu.index)
    by_gpus: dict[tuple[int, ...], list[str]] = {}
    for path, gpus in refused.items():
        by_gpus.setdefault(tuple(gpus), []).append(path)
    return [
        NotJudged(kind="", reason=f"{', '.join(paths)} of {gpu_list(gpus)}: this user may not read them, root may")
        for gpus, paths in by_gpus.items()
    ]
