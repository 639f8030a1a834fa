"""Worlds of boards of our own making: what all such scenes share, and how they become frames."""

import random
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, structs

from evaluation.labels import Truth
from evaluation.observed import capped_truths, clock_truths, heat_truths, imbalance_truths, losses, new_notes
from evaluation.plant import GIB, Activity, Card
from evaluation.sensors import Reader, Sensors
from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Placement
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0
TAIL_S = 60.0


class Trouble(Struct, frozen=True, kw_only=True):
    """What goes wrong in a scene, and where."""

    name: str
    gpu: int
    strength: float = 0.0
    start_s: float = 0.0
    ends_s: float | None = None

    def is_on(self, second: float) -> bool:
        """Whether it holds at this moment."""
        return self.start_s <= second and (self.ends_s is None or second < self.ends_s)


class Scene:
    """Boards, what they do each second, and who runs there. A scene is made twice: once with its trouble, once without."""

    def __init__(self, cards: list[Card]) -> None:
        self.cards = cards
        self.activities = [Activity() for _ in cards]
        self.declared: dict[str, list[int]] = {}
        self.uptime_s = 900_000.0
        self.processes: dict[int, list[Process]] = {card.index: [] for card in cards}

    def act(self, second: int) -> float:
        """Set the activities; gives the pace of the work, 1 at best."""
        raise NotImplementedError

    def truths(self) -> list[Truth]:
        """What must be found whatever it costs."""
        return []

    def groups(self) -> list[tuple[int, ...]]:
        """Boards that work in step."""
        return []

    def imbalance(self) -> tuple[Trouble, frozenset[int], tuple[str, ...]] | None:
        """The trouble that may hold a group up, the group, and words for the cause."""
        return None


class SceneWorld:
    """Plays a scene."""

    def __init__(self, make: Callable[[bool], Scene], sensors: Sensors, seed: int, seconds: int) -> None:
        """`make` is told whether the trouble shall be there."""
        self._make = make
        self._scene = make(True)
        self._reader = Reader(sensors, random.Random(f"{seed}/sensors"))
        self.seconds = seconds
        self.gpus = len(self._scene.cards)
        self.config = Config(groups=self._scene.declared)
        self._notes = new_notes([float(card.make.clock_mhz) for card in self._scene.cards])
        self._latest: Frame | None = None

    def play(self) -> Iterator[tuple[float, Frame]]:
        """See `World`."""
        scene = self._scene
        now = NOON
        ledger = Ledger(lambda: now, lambda: now)
        ledger.watch_xids(None)
        _warm(scene)
        for second in range(self.seconds):
            now = NOON + second
            pace = _advance(scene, second)
            rows = [
                card.row(activity, scene.processes[card.index])
                for card, activity in zip(scene.cards, scene.activities, strict=True)
            ]
            self._notes.note(rows, pace)
            if self._reader.is_silent(second):
                continue
            frame = Frame(
                node="exam",
                taken_at=now,
                simulated=True,
                driver_version="570.124.06",
                host=Host(uptime_s=scene.uptime_s + second, cpu_count=64, cpu_pct=20.0, load_1m=9.0),
                gpus=[self._reader.read(row, second) for row in rows],
            )
            self._latest = ledger.complete(frame)
            yield float(second), self._latest

    def topology(self) -> Topology | None:
        """See `World`: four boards to a socket, joined by its host bridge."""
        if self._latest is None:
            return None
        gpus = self._latest.gpus
        places = {
            one.index: Placement(
                ancestors={
                    other.index: "PHB" if one.numa_node == other.numa_node else "SYS"
                    for other in gpus
                    if other is not one
                },
            )
            for one in gpus
        }
        return build_topology(gpus, places, node="exam", taken_at=self._latest.taken_at, simulated=True)

    def truths(self) -> list[Truth]:
        """What the scene declares, what the boards said, and what it cost."""
        scene = self._scene
        throttle_at_c = [card.make.slowdown_c - 3.0 for card in scene.cards]
        named = scene.imbalance()
        fault = named[0].name if named else "none"
        found = [*heat_truths(self._notes, throttle_at_c, fault), *scene.truths()]
        found += clock_truths(self._notes, scene.groups(), fault)
        if named is None:
            return found
        trouble, group, causes = named
        if trouble.name == "limit":
            found += capped_truths(self._notes, trouble.gpu, trouble.start_s, trouble.ends_s, trouble.name)

        def make(onset: float, cost: float, required: bool) -> Truth:
            return Truth(
                kind="tp_imbalance",
                gpus=frozenset({trouble.gpu}),
                group=group,
                causes=causes,
                starts_s=trouble.start_s,
                onset_s=onset,
                ends_s=trouble.ends_s + TAIL_S if trouble.ends_s is not None else None,
                cost=cost,
                required=required,
                fault=trouble.name,
            )

        twin = self._make(False)
        _warm(twin)
        lost = losses(self._notes.pace, [_advance(twin, second) for second in range(self.seconds)])
        return found + imbalance_truths(lost, make, trouble.start_s, trouble.ends_s)


def _warm(scene: Scene) -> None:
    """It has been going on for a while when somebody begins to look."""
    scene.act(0)
    for card, activity in zip(scene.cards, scene.activities, strict=True):
        card.settle(activity)


def _advance(scene: Scene, second: int) -> float:
    pace = scene.act(second)
    for card, activity in zip(scene.cards, scene.activities, strict=True):
        card.step(activity)
    return pace


def worker(
    pid: int,
    *,
    gib: float,
    user: str = "serve",
    name: str = "VLLM::Worker_TP0",
    group: str | None = None,
    rank: int | None = None,
    size: int | None = None,
    split: str | None = None,
    kind: str = "compute",
    sm_pct: float | None = None,
    age_s: float = 40_000.0,
) -> Process:
    """One process, as attribution tells of it."""
    return Process(
        pid=pid,
        user=user,
        name=name,
        command=name,
        memory_bytes=int(gib * GIB),
        sm_pct=sm_pct,
        tp_group=group,
        tp_rank=rank,
        tp_size=size,
        tp_source=f'process title "{name}"' if group is not None else None,
        split=split,
        kind=kind,
        started_at=NOON - age_s,
    )


def hold(activities: Sequence[Activity], processes: dict[int, list[Process]]) -> None:
    """The memory that the processes hold."""
    for gpu, activity in enumerate(activities):
        activity.memory_bytes = sum(process.memory_bytes or 0 for process in processes[gpu])


def grown(process: Process, gib: float) -> Process:
    """The same process with other memory."""
    return structs.replace(process, memory_bytes=int(gib * GIB))
