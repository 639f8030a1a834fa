"""Ranks in step, after what is written of them: the slowest sets the pace, the others spin while they wait."""

import random
from typing import Literal, NamedTuple

from msgspec import Struct

from evaluation.labels import NO_CAUSE, Truth
from evaluation.observed import POWER_WORDS, THERMAL_WORDS
from evaluation.plant import MAKES, Activity, Ailment, Card, Make, wave, wire
from evaluation.scene import TAIL_S, Scene, Trouble, hold, worker
from gpuwatch_agent.model.process import Process

Idle = Literal["sleep", "spin"]
Told = Literal["title", "declared", "launcher"]
TOLD: tuple[Told, ...] = ("title", "declared", "launcher")
"""How the group becomes known: by process titles, by configuration, by a training launcher."""

TROUBLES: dict[str, tuple[str, ...]] = {
    "slow": (NO_CAUSE,),
    "host": ("host", "cpu"),
    "heat": THERMAL_WORDS,
    "slowdown": ("slowdown", "clock"),
    "limit": POWER_WORDS,
    "foreign": ("process", "program", "neighbour", "somebody", "shares", "mine.py"),
    "narrow": ("pcie",),
    "stuck": (),
    "links": ("nvlink",),
}
"""What can befall a rank, with words for the cause."""


class Style(Struct, frozen=True, kw_only=True):
    """How the ranks work when all goes well."""

    load: float
    swing: float
    period_s: float
    compute: float
    traffic: float
    by_clock: float
    """The part of a step that the clock decides."""
    comm: float
    over_pcie: bool
    link_bytes: float
    bursts: float = 0.0
    """Chance of a prefill burst in a second."""
    pause_every_s: float = 0.0
    pause_s: float = 0.0
    skew: float = 0.0
    """How far ranks differ by turns, as experts do."""
    idle: Idle = "sleep"
    silent_spin: bool = False
    """Whether idle ranks that spin send nothing at all."""


def random_style(chance: random.Random, make: Make) -> Style:
    """Some way of working."""
    over_pcie = make.links == 0
    training = chance.random() < 0.3
    return Style(
        load=0.95 if training else chance.uniform(0.45, 0.95),
        swing=0.02 if training else chance.uniform(0.0, 0.35),
        period_s=chance.choice((40.0, 110.0, 300.0, 1200.0)),
        compute=chance.uniform(0.55, 0.95) if training else chance.uniform(0.3, 0.65),
        traffic=chance.uniform(0.35, 0.6) if training else chance.uniform(0.55, 0.95),
        by_clock=chance.uniform(0.75, 0.95) if training else chance.uniform(0.45, 0.9),
        comm=chance.uniform(0.1, 0.3) if over_pcie else chance.uniform(0.05, 0.2),
        over_pcie=over_pcie,
        link_bytes=chance.uniform(1e9, 6e9) if over_pcie else chance.uniform(5e9, 60e9),
        bursts=0.0 if training else chance.choice((0.0, 0.02, 0.08)),
        pause_every_s=chance.choice((0.0, 60.0, 200.0)) if training else 0.0,
        pause_s=chance.uniform(3.0, 15.0),
        skew=chance.choice((0.0, 0.0, 0.03)),
    )


class _Burden(NamedTuple):
    """How much slower ranks are, how long they are kept by the host, what strangers take, and what is left of the links."""

    slow: dict[int, float]
    host: dict[int, float]
    foreign: dict[int, float]
    links: float


class _Second(NamedTuple):
    """One second of a group: how much of it has work, how hard, and how long a step takes."""

    duty: float
    intensity: float
    step: float
    burst: bool


class Lockstep(Scene):
    """One group on all boards, or on some."""

    def __init__(
        self,
        seed: int,
        make: Make,
        count: int,
        style: Style,
        trouble: Trouble | None = None,
        *,
        told: Told = "title",
        members: tuple[int, ...] | None = None,
        pairs: bool = False,
        lanes: int | None = None,
    ) -> None:
        self.chance = random.Random(f"{seed}/work")
        super().__init__([Card(make, index, random.Random(f"{seed}/{index}"), lanes=lanes) for index in range(count)])
        wire(self.cards, pairs=pairs)
        self.style = style
        self.trouble = trouble
        self.members = members if members is not None else tuple(range(count))
        self.gib = make.memory_gib * self.chance.uniform(0.5, 0.88)
        self._phase = self.chance.random()
        self._late = [self.chance.random() for _ in self.members]
        """Sensors of the ranks do not look at the same instant."""
        self._drift = 0.0
        self._burst_until = -1
        self._before = 1.0
        self._tells_shares = self.chance.random() < 0.6
        self._seat(told)
        for gpu in range(count):
            self.activities[gpu].awake = gpu in self.members

    def _seat(self, told: Told) -> None:
        pid, size = self.chance.randrange(10_000, 90_000), len(self.members)
        if told == "declared":
            self.declared = {"mine": list(self.members)}
        for rank, gpu in enumerate(self.members):
            grouped = told != "declared"
            self.processes[gpu] = [
                worker(
                    pid + rank,
                    gib=self.gib,
                    name=f"VLLM::Worker_TP{rank}" if told == "title" else "train.py",
                    group=f"vllm:acme/large@{pid}" if grouped else None,
                    rank=rank if grouped else None,
                    size=size if grouped else None,
                    split=("tensor" if told == "title" else "data") if grouped else None,
                )
            ]

    def act(self, second: int) -> float:
        """One second of the group's work."""
        style, chance = self.style, self.chance
        trouble = self.trouble if self.trouble is not None and self.trouble.is_on(second) else None
        slow, hosts, foreign, narrowed = self._befall(trouble)
        self._drift = 0.9 * self._drift + chance.gauss(0.0, 0.02)
        if chance.random() < style.bursts:
            self._burst_until = second + chance.randint(1, 4)
        burst = second < self._burst_until
        stumbles = [abs(chance.gauss(0.0, 0.008)) for _ in self.members]
        load = min(1.0, max(0.0, style.load + style.swing * wave(second, style.period_s, self._phase) + self._drift))
        if style.pause_every_s and (second + self._phase * 60.0) % style.pause_every_s < style.pause_s:
            load = 0.0
        if trouble is not None and trouble.name == "stuck":
            self._hang(trouble)
            return 0.0
        times = [
            (style.by_clock / max(0.2, self.cards[gpu].clock) + 1.0 - style.by_clock)
            * (1.0 + slow.get(gpu, 0.0) + stumbles[rank] + style.skew * wave(second, 17.0, rank / len(self.members)))
            / (1.0 - 0.85 * foreign.get(gpu, 0.0))
            for rank, gpu in enumerate(self.members)
        ]
        working = 1.0 - style.comm
        late = [own + hosts.get(gpu, 0.0) for own, gpu in zip(times, self.members, strict=True)]
        step = working * max(late) + style.comm / narrowed
        duty = min(1.0, load / 0.4)
        intensity = (0.35 + 0.65 * load) * (1.45 if burst else 1.0)
        for rank, gpu in enumerate(self.members):
            # Each rank's average covers a little of the second before.
            seen = intensity + (self._before - intensity) * self._late[rank]
            host = working * hosts.get(gpu, 0.0) / step
            self._set(self.activities[gpu], _Second(duty, seen, step, burst), working * times[rank] / step, host)
        self._before = intensity
        self._intrude(foreign)
        hold(self.activities, self.processes)
        return 1.0 / step

    def _set(self, activity: Activity, now: _Second, part: float, host: float) -> None:
        """`part` of the step is worked and `host` waited for the processor; the rest is spun away."""
        duty, intensity, step, burst = now
        style = self.style
        spinning_idle = style.idle == "spin"
        rest = 1.0 - duty
        activity.busy = duty * (1.0 - host) + (rest if spinning_idle else 0.0)
        activity.compute = min(1.0, duty * intensity * style.compute * part / (1.0 - style.comm))
        activity.spin = duty * max(0.0, 1.0 - host - part) + (rest if spinning_idle else 0.0)
        activity.memory_traffic = min(1.0, duty * intensity * style.traffic / step * (0.6 if burst else 1.0))
        sent = duty * intensity * style.link_bytes / step
        if spinning_idle and not style.silent_spin:
            sent += rest * self.chance.uniform(4e3, 9e4)
        activity.link = sent if self.cards[0].ports is not None and not style.over_pcie else 0.0
        over = sent if style.over_pcie else 0.02 * sent
        activity.pcie_tx, activity.pcie_rx = over, over * self.chance.uniform(0.9, 1.1)

    def _hang(self, trouble: Trouble) -> None:
        for gpu in self.members:
            activity = self.activities[gpu]
            activity.busy, activity.compute, activity.memory_traffic = 1.0, 0.0, 0.0
            activity.spin = trouble.strength
            activity.link = activity.pcie_tx = activity.pcie_rx = 0.0

    def _befall(self, trouble: Trouble | None) -> "_Burden":
        """What weighs on the ranks now; what ails a board is laid on it."""
        burden = _Burden({}, {}, {}, 1.0)
        for card in self.cards:
            card.ails = Ailment()
        if trouble is None:
            return burden
        gpu, strength = trouble.gpu, trouble.strength
        make = self.cards[gpu].make
        ails = {
            "heat": Ailment(blocked_air=strength),
            "slowdown": Ailment(clock_ceiling=strength, reasons=("hw_slowdown",)),
            "limit": Ailment(limit_w=float(round(make.limit_w * strength))),
            "narrow": Ailment(lanes=int(strength)),
            "links": Ailment(links_down=frozenset(range(int(strength * make.links)))),
        }
        self.cards[gpu].ails = ails.get(trouble.name, Ailment())
        of_rank = {"slow": burden.slow, "host": burden.host, "foreign": burden.foreign}.get(trouble.name)
        if of_rank is not None:
            of_rank[gpu] = strength
        if trouble.name == "narrow" and self.style.over_pcie:
            return burden._replace(links=min(1.0, strength / make.lanes))
        if trouble.name == "links":
            return burden._replace(links=1.0 - int(strength * make.links) / make.links)
        return burden

    def _intrude(self, foreign: dict[int, float]) -> None:
        trouble = self.trouble
        if trouble is None or trouble.name != "foreign":
            return
        gpu = trouble.gpu
        own = [process for process in self.processes[gpu] if process.user != "mallory"]
        self.processes[gpu] = own
        if gpu in foreign:
            part = foreign[gpu]
            self.processes[gpu] = [*own, self._stranger(part)]
            activity = self.activities[gpu]
            activity.busy = 1.0
            activity.compute = min(1.0, activity.compute * (1.0 - part) + 0.8 * part)
            activity.spin *= 1.0 - part
            activity.memory_traffic = min(1.0, activity.memory_traffic + 0.3 * part)

    def _stranger(self, part: float) -> Process:
        """Not every driver tells which process takes how much of the chip."""
        sm_pct = float(round(100.0 * part)) if self._tells_shares else None
        return worker(777_001, gib=2.5, user="mallory", name="mine.py", sm_pct=sm_pct)

    def truths(self) -> list[Truth]:
        """What the trouble is by its own name."""
        trouble = self.trouble
        if trouble is None:
            return []
        kinds = {
            "foreign": "noisy_neighbour",
            "narrow": "pcie_degraded",
            "stuck": "tp_stalled",
            "links": "nvlink_down",
            "limit": "power_throttle",
        }
        kind = kinds.get(trouble.name)
        if kind is None:
            return []
        everybody = frozenset(self.members)
        found = [
            Truth(
                kind=kind,
                gpus=everybody if kind == "tp_stalled" else frozenset({trouble.gpu}),
                group=everybody,
                starts_s=trouble.start_s,
                onset_s=trouble.start_s,
                ends_s=trouble.ends_s + TAIL_S if trouble.ends_s is not None else None,
                # Whether a limit bites is for the board to say.
                required=kind != "power_throttle",
                # Where nobody tells how much the stranger takes, that it is there is all that can be said.
                least="info" if kind == "noisy_neighbour" and not self._tells_shares else "warning",
                fault=trouble.name,
            )
        ]
        beside = {"limit": "mixed_hardware", "foreign": "memory_imbalance"}.get(trouble.name)
        if beside is not None:
            found.append(
                Truth(
                    kind=beside,
                    gpus=frozenset({trouble.gpu}),
                    group=everybody,
                    starts_s=trouble.start_s,
                    onset_s=trouble.start_s,
                    required=False,
                    fault=trouble.name,
                )
            )
        return found

    def groups(self) -> list[tuple[int, ...]]:
        """The one."""
        return [self.members]

    def imbalance(self) -> tuple[Trouble, frozenset[int], tuple[str, ...]] | None:
        """Any trouble but a hang may hold the group up."""
        if self.trouble is None or self.trouble.name == "stuck":
            return None
        return self.trouble, frozenset(self.members), TROUBLES[self.trouble.name]


def random_make(chance: random.Random) -> Make:
    """Some model of board."""
    return chance.choice(MAKES)


def random_trouble(chance: random.Random, name: str, members: tuple[int, ...], seconds: int) -> Trouble:
    """Some strength, some rank, some time."""
    strength = {
        "slow": chance.choice((0.2, 0.35, 0.6, 1.2)),
        "host": chance.choice((0.25, 0.4, 0.8, 1.5)),
        "heat": chance.uniform(0.35, 0.75),
        "slowdown": chance.uniform(0.35, 0.7),
        "limit": chance.uniform(0.4, 0.7),
        "foreign": chance.uniform(0.15, 0.55),
        "narrow": float(chance.choice((1, 2, 4))),
        "links": chance.choice((0.34, 0.5)),
        "stuck": chance.uniform(0.05, 0.45),
    }[name] * (chance.uniform(0.9, 1.1) if name in {"slow", "host"} else 1.0)
    when = chance.random()
    start = 0.0 if when < 0.3 else float(chance.randint(20, seconds - 150))
    ends = start + chance.randint(110, 200) if when > 0.7 else None
    return Trouble(name=name, gpu=chance.choice(members), strength=strength, start_s=start, ends_s=ends)
