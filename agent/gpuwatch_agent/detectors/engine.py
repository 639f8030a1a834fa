"""Turns suspicions into findings: says them when they have lasted, keeps them while they last, and remembers them."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector, DetectorSettings, Suspicion
from gpuwatch_agent.detectors.baseline import BusyBaseline, busy_baselines, job_age_s
from gpuwatch_agent.detectors.groups import groups_of
from gpuwatch_agent.detectors.lockstep import WINDOW_S
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.detectors.scores import imbalance_scores
from gpuwatch_agent.detectors.tallies import Tallies
from gpuwatch_agent.detectors.window import Window
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding, FindingEvent, tells_the_same
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

_BASELINES_EVERY_S = 60.0
# Until a GPU has its first yardstick what it does can't be held against its past: that is worth asking more often.
_FIRST_BASELINES_EVERY_S = 10.0
_TOPOLOGY_EVERY_S = 60.0
_YARDSTICK_S = 3600.0
_EVENTS_KEPT = 1000
# The series have one value a second: looking more often would see nothing new.
_EVERY_S = 0.9
# Between two looks this long nobody knows what was: suspicions start afresh.
_LONGEST_GAP_S = 30.0
# What is said was seen for most of its time: each second unseen takes four seen ones to make up for.
_WON_BACK = 0.25
_LIMPING = frozenset({"tp_imbalance", "tp_stalled"})
_SEVERITY_ORDER = {"critical": 0, "warning": 1, "info": 2}
# Where looks are meant to be far apart, so many of them are the longest gap.
_LONGEST_GAP_LOOKS = 2.5
# However eager a kind is to be said, its words are not told anew more often than this.
_LEAST_BETWEEN_WORDS_S = 10.0


class _Case(Struct):
    """One suspicion over time."""

    first_at: float
    first_wall: float
    last_at: float
    suspicion: Suspicion
    severe_at: float
    """When it was last as severe as it is said to be."""
    told: Suspicion | None = None
    """As the last event tells it."""
    differs_since: float | None = None
    """Since when it has named other GPUs or another cause than that."""
    raised_at: float | None = None
    raised_wall: float | None = None
    unseen_s: float = 0.0
    """Before it is said: for how long it was not seen, less what it has won back since."""


class Engine:
    """Belongs to the agent; `judge` is called with every frame that shall carry findings."""

    def __init__(
        self,
        config: Config,
        history: History,
        *,
        detectors: Sequence[Detector[Any]] = DETECTORS,
        on_event: Callable[[FindingEvent], None] = lambda _: None,
        topology: Callable[[], Topology | None] = lambda: None,
    ) -> None:
        self._ask_topology = topology
        self._topology: Topology | None = None
        self._topology_at: float | None = None
        self._history = history
        self._on_event = on_event
        self._declared = config.groups
        self._longest_gap_s = max(_LONGEST_GAP_S, _LONGEST_GAP_LOOKS * config.sampling.interval_s)
        self._detectors = [(one, _settings_for(one, config)) for one in detectors]
        self._cases: dict[tuple[str, str], _Case] = {}
        self._tallies = Tallies()
        self._baselines: dict[str, BusyBaseline] = {}
        self._baselines_at: float | None = None
        self._first_baselines_at = 0.0
        self._limped: list[tuple[float, float]] = []
        """Stretches of the last hour in which a group limped, from its first suspicion on."""
        self._started_at: float | None = None
        self._judged_at: float | None = None
        self._since_last_s = 0.0
        self._scores: dict[str, float] = {}
        self._said: list[Finding] = []
        self.events: deque[FindingEvent] = deque(maxlen=_EVENTS_KEPT)
        """What was raised and cleared, the newest last."""
        self.errors: dict[str, str] = {}
        """Detectors that failed, with how: their own fault, and no other's."""

    def judge(self, frame: Frame, now: float) -> Frame:
        """The frame with its findings and imbalance scores; `now` is monotonic, and the history holds the frame already."""
        if self._judged_at is not None and now - self._judged_at < _EVERY_S:
            return self._attach(frame)
        if self._started_at is None:
            self._started_at = now
        if self._judged_at is not None and now - self._judged_at > self._longest_gap_s:
            self._forget_suspicions()
        self._since_last_s = now - self._judged_at if self._judged_at is not None else 0.0
        self._judged_at = now
        window = self._window(frame, now)
        for detector, settings in self._detectors:
            if settings.enabled:
                self._weigh(detector, settings, window, now)
        self._scores = imbalance_scores(window)
        self._said = self._findings()
        return self._attach(frame)

    def _attach(self, frame: Frame) -> Frame:
        """The frame with what was found at the last look."""
        scores = self._scores
        gpus = [
            structs.replace(gpu, imbalance_score=scores[gpu.uuid]) if gpu.uuid in scores else gpu for gpu in frame.gpus
        ]
        return structs.replace(frame, gpus=gpus, findings=self._said)

    def _window(self, frame: Frame, now: float) -> Window:
        self._refresh_baselines(frame, now)
        said = {of: case.suspicion for of, case in self._cases.items() if case.raised_at is not None}
        return Window(
            frame,
            self._history,
            watched_s=now - (self._started_at if self._started_at is not None else now),
            baselines=self._baselines,
            declared_groups=self._declared,
            tallies=self._tallies.take(frame, now),
            topology=lambda: self._wiring(now),
            said={of: suspicion.severity for of, suspicion in said.items()},
            named={of: frozenset(suspicion.gpus) for of, suspicion in said.items()},
        )

    def _wiring(self, now: float) -> Topology | None:
        """Asked for at most once a minute, and only when a detector wants it."""
        if self._topology is None or self._topology_at is None or now - self._topology_at >= _TOPOLOGY_EVERY_S:
            self._topology, self._topology_at = self._ask_topology(), now
        return self._topology

    def _holds_back(self) -> bool:
        """Whether a group limps: a fault that lasts must not become its own yardstick.

        A little more or less than the siblings may be how the board is: its own past shall show it, so that is taken.
        """
        return any(_limps(kind, case) for (kind, _), case in self._cases.items())

    def _refresh_baselines(self, frame: Frame, now: float) -> None:
        """All of them once a minute, those that are missing more often."""
        due = self._baselines_at is None or now - self._baselines_at >= _BASELINES_EVERY_S
        missing = [gpu for gpu in frame.gpus if gpu.uuid not in self._baselines]
        if not due and not (missing and now - self._first_baselines_at >= _FIRST_BASELINES_EVERY_S):
            return
        self._first_baselines_at = now
        if due:
            self._baselines_at = now
        self._limped = [(since, until) for since, until in self._limped if now - until < _YARDSTICK_S]
        if self._holds_back():
            return
        left_out = [(now - since, now - until) for since, until in self._limped]
        wanted = {gpu.uuid for gpu in (frame.gpus if due else missing)}
        # Where trouble leaves too little of the hour, what was known before it is the better yardstick.
        found: dict[str, BusyBaseline] = {} if due and not left_out else dict(self._baselines)
        for together in _working_together(frame, self._declared):
            if any(gpu.uuid in wanted for gpu in together):
                lasting = min(_YARDSTICK_S, *(job_age_s(gpu, frame.taken_at) for gpu in together))
                uuids = [gpu.uuid for gpu in together]
                usual = busy_baselines(self._history, uuids, lasting, left_out)
                found |= usual or busy_baselines(self._history, uuids, lasting, left_out, first=True)
        self._baselines = found

    def _weigh(self, detector: Detector[Any], settings: DetectorSettings, window: Window, now: float) -> None:
        kind = detector.kind
        raised = frozenset(key for (of, key), case in self._cases.items() if of == kind and case.raised_at is not None)
        window.lasted_s = {key: now - case.first_at for (of, key), case in self._cases.items() if of == kind}
        try:
            suspicions = detector.detect(window, settings, raised)
            self.errors.pop(kind, None)
        except Exception as error:  # noqa: BLE001  # one detector's fault is told in the agent's account, and takes no other down
            self.errors[kind] = f"{type(error).__name__}: {error}"
            return
        in_grace = window.uptime_s is not None and window.uptime_s < settings.boot_grace_s
        for suspicion in suspicions:
            if not in_grace or suspicion.certain:
                self._suspect(kind, settings, suspicion, window, now)
        for (of, key), case in list(self._cases.items()):
            if of == kind and case.last_at < now:
                self._relax((kind, key), case, settings, window)

    def _suspect(self, kind: str, settings: DetectorSettings, suspicion: Suspicion, window: Window, now: float) -> None:
        case = self._cases.get((kind, suspicion.key))
        if case is not None and _names_others(case, suspicion):
            if _stays_with_whom_it_names(case, suspicion, settings, now):
                return
            case.differs_since = case.last_at
        if case is None:
            case = _Case(first_at=now, first_wall=window.wall, last_at=now, suspicion=suspicion, severe_at=now)
            self._cases[kind, suspicion.key] = case
        before = case.suspicion
        case.unseen_s = max(0.0, case.unseen_s - _WON_BACK * self._since_last_s)
        case.last_at, case.suspicion = now, self._steadied(case, suspicion, settings, now)
        lasted = now - case.first_at
        if case.raised_at is None:
            # Seconds without it do not count, so that a few sightings are not made much of by the gaps between them.
            if suspicion.certain or lasted - case.unseen_s >= settings.raise_after_s:
                case.raised_at, case.raised_wall = now, window.wall
                self._tell("raised", kind, case, window.wall)
        elif case.suspicion.severity != before.severity or _reads_otherwise(case, settings, now):
            self._tell("changed", kind, case, window.wall)

    def _steadied(self, case: _Case, suspicion: Suspicion, settings: DetectorSettings, now: float) -> Suspicion:
        """What was said gets worse at once, and better when it has been better for as long as it takes to be dropped."""
        said = case.suspicion.severity
        better = _SEVERITY_ORDER[suspicion.severity] > _SEVERITY_ORDER[said]
        if better and case.raised_at is not None and now - case.severe_at < settings.clear_after_s:
            return structs.replace(suspicion, severity=said)
        case.severe_at = now
        return suspicion

    def _relax(self, of: tuple[str, str], case: _Case, settings: DetectorSettings, window: Window) -> None:
        """Nothing of it was seen this time: what flickers is never said, and what was said is dropped after a while.

        A reading that did not come is no proof that all is well, so a suspicion outlives a few seconds without one.
        """
        if case.raised_at is None:
            case.unseen_s += self._since_last_s
            if case.unseen_s > settings.unseen_s:
                del self._cases[of]
        elif (self._judged_at or 0.0) - case.last_at >= settings.clear_after_s:
            del self._cases[of]
            if _limps(of[0], case):
                # The first suspicion came from seconds that were bad already.
                self._limped.append((case.first_at - WINDOW_S, self._judged_at or case.last_at))
            self._tell("cleared", of[0], case, window.wall)

    def _forget_suspicions(self) -> None:
        self._cases = {key: case for key, case in self._cases.items() if case.raised_at is not None}

    def _findings(self) -> list[Finding]:
        said = [(kind, case) for (kind, _), case in self._cases.items() if case.raised_at is not None]
        said.sort(key=lambda pair: (_SEVERITY_ORDER[pair[1].suspicion.severity], pair[1].first_wall))
        return [_finding(kind, case) for kind, case in said]

    def _tell(self, what: str, kind: str, case: _Case, wall: float) -> None:
        case.told, case.differs_since = case.suspicion, None
        event = FindingEvent(event=what, at=wall, finding=_finding(kind, case))  # type: ignore[arg-type]  # one of three words
        self.events.append(event)
        self._on_event(event)


def _names_others(case: _Case, suspicion: Suspicion) -> bool:
    """Whether wholly other GPUs are suspected than before."""
    before, now = set(case.suspicion.gpus), set(suspicion.gpus)
    return bool(before and now) and before.isdisjoint(now)


def _stays_with_whom_it_names(case: _Case, suspicion: Suspicion, settings: DetectorSettings, now: float) -> bool:
    """Whether the earlier GPUs have not been free of suspicion for as long as it takes to let them go.

    Seconds against one GPU are no evidence against another: they count as seconds in which this was not seen.
    """
    if suspicion.certain:
        return False
    return case.raised_at is None or now - case.last_at < settings.clear_after_s


def _limps(kind: str, case: _Case) -> bool:
    return kind in _LIMPING and case.raised_at is not None and case.suspicion.severity != "info"


def _working_together(frame: Frame, declared: Mapping[str, Sequence[int]]) -> list[list[Gpu]]:
    """The members of each group, and every other GPU by itself."""
    by_uuid = {gpu.uuid: gpu for gpu in frame.gpus}
    groups = [[by_uuid.pop(uuid) for uuid in one.uuids if uuid in by_uuid] for one in groups_of(frame.gpus, declared)]
    return [members for members in groups if members] + [[gpu] for gpu in by_uuid.values()]


def _finding(kind: str, case: _Case) -> Finding:
    suspicion = case.suspicion
    return Finding(
        kind=kind,
        severity=suspicion.severity,
        gpus=suspicion.gpus,
        since=suspicion.since if suspicion.since is not None else case.first_wall,
        summary=suspicion.summary,
        cause=suspicion.cause,
        evidence=suspicion.evidence,
        action=suspicion.action,
        key=suspicion.key,
        runbook=f"docs/runbooks/{kind}.md",
    )


def _settings_for(detector: Detector[Any], config: Config) -> DetectorSettings:
    given: Mapping[str, object] = config.findings.get(detector.kind, {})
    return msgspec.convert(given, detector.settings)


def _reads_otherwise(case: _Case, settings: DetectorSettings, now: float) -> bool:
    """Whether it has named other GPUs or another cause than was told, for as long as a finding must last to be said."""
    if case.told is None or tells_the_same(case.suspicion, case.told):
        case.differs_since = None
        return False
    if case.differs_since is None:
        case.differs_since = now
    return now - case.differs_since >= max(settings.raise_after_s, _LEAST_BETWEEN_WORDS_S)
