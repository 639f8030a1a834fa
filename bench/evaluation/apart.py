"""Work over several boards that is uneven by nature, and no fault: replicas, layers, stages, a model being loaded."""

import random

from evaluation.plant import Ailment, Card, Make, wave, wire
from evaluation.scene import Scene, grown, hold, worker


class Apart(Scene):
    """Boards that do not wait for each other."""

    def __init__(self, seed: int, make: Make, count: int, *, lanes: int | None = None) -> None:
        self.chance = random.Random(f"{seed}/work")
        super().__init__([Card(make, index, random.Random(f"{seed}/{index}"), lanes=lanes) for index in range(count)])
        wire(self.cards)
        self.count = count
        self.pid = self.chance.randrange(10_000, 90_000)
        self.gib = make.memory_gib * self.chance.uniform(0.3, 0.85)

    def work(self, gpu: int, part: float, *, compute: float = 0.6, traffic: float = 0.7, pcie: float = 3e7) -> None:
        """This part of the second is worked."""
        activity = self.activities[gpu]
        activity.awake = True
        activity.busy = min(1.0, part)
        activity.compute = min(1.0, part * compute)
        activity.memory_traffic = min(1.0, part * traffic)
        activity.spin = activity.link = 0.0
        activity.pcie_tx = activity.pcie_rx = part * pcie

    def act(self, second: int) -> float:
        """One second."""
        self.live(second)
        hold(self.activities, self.processes)
        return 1.0

    def live(self, second: int) -> None:
        """Set the activities of this second."""
        raise NotImplementedError


class Replicas(Apart):
    """The same model on each board, each with the traffic that the balancer happens to send."""

    def __init__(self, seed: int, make: Make, count: int, *, titled: bool) -> None:
        super().__init__(seed, make, count)
        self._load = [self.chance.choice((0.02, 0.2, 0.5, 0.8, 1.0)) for _ in range(count)]
        self._period = [self.chance.choice((50.0, 130.0, 700.0)) for _ in range(count)]
        for gpu in range(count):
            name = f"VLLM::EngineCore_DP{gpu}" if titled else "vllm"
            self.processes[gpu] = [worker(self.pid + gpu, gib=self.gib, name=name, split="data" if titled else None)]

    def live(self, second: int) -> None:
        """Loads that have nothing to do with each other."""
        for gpu in range(self.count):
            base = self._load[gpu] + 0.3 * wave(second, self._period[gpu], gpu * 0.37) + self.chance.gauss(0.0, 0.08)
            self.work(gpu, max(0.0, min(1.0, base)))


class Layers(Apart):
    """One process over all boards, working by turns; the shares are what somebody chose."""

    def __init__(self, seed: int, make: Make, count: int) -> None:
        super().__init__(seed, make, count)
        raw = [self.chance.uniform(0.3, 1.0) for _ in range(count)]
        self._share = [one / sum(raw) for one in raw]
        for gpu in range(count):
            held = make.memory_gib * 0.9 * self._share[gpu] / max(self._share)
            self.processes[gpu] = [worker(self.pid, gib=held, name="llama-server", split="layer")]

    def live(self, second: int) -> None:
        """Together they are busy once."""
        busy = 1.0 if wave(second, 75.0, 0.1) > -0.6 else 0.0
        for gpu in range(self.count):
            self.work(gpu, busy * self._share[gpu] * self.chance.uniform(0.85, 1.15), compute=0.5, traffic=0.9)


class Stages(Apart):
    """A pipeline: the last stage has the vocabulary to compute, some stages wait in a receive and spin."""

    def __init__(self, seed: int, make: Make, count: int) -> None:
        super().__init__(seed, make, count)
        self._weight = [self.chance.uniform(0.55, 0.8) for _ in range(count - 1)] + [1.0]
        self._spins = self.chance.random() < 0.6
        self._quiet = self.chance.random() < 0.3
        for gpu in range(count):
            held = self.gib * self.chance.uniform(0.8, 1.05)
            self.processes[gpu] = [
                worker(self.pid + gpu, gib=held, name=f"VLLM::Worker_PP{gpu}", split="pipeline", rank=None)
            ]

    def live(self, second: int) -> None:
        """Stages are as unlike as their layers; with nothing to do they may spin."""
        load = 0.0 if self._quiet else max(0.0, 0.75 + 0.25 * wave(second, 160.0, 0.3))
        for gpu in range(self.count):
            part = load * self._weight[gpu] * self.chance.uniform(0.93, 1.07)
            self.work(gpu, part)
            activity = self.activities[gpu]
            activity.link = load * 2e8 if self.cards[gpu].ports is not None else 0.0
            if self._spins:
                activity.spin = max(0.0, 1.0 - part)
                activity.busy = 1.0


class Loading(Apart):
    """A model being loaded, rank by rank, then warmed up, then at work in step."""

    def __init__(self, seed: int, make: Make, count: int, *, titled: bool) -> None:
        super().__init__(seed, make, count)
        self._ready = [self.chance.uniform(40.0, 130.0) for _ in range(count)]
        self._begins = [self.chance.uniform(2.0, 20.0) for _ in range(count)]
        self._compiles_s = self.chance.uniform(10.0, 60.0)
        if not titled:
            self.declared = {"loading": list(range(count))}
        group = f"vllm:acme/large@{self.pid}" if titled else None
        self._seats = [
            worker(
                self.pid + gpu,
                gib=0.5,
                name=f"VLLM::Worker_TP{gpu}",
                group=group,
                rank=gpu if titled else None,
                size=count if titled else None,
                split="tensor" if titled else None,
                age_s=0.0,
            )
            for gpu in range(count)
        ]

    def live(self, second: int) -> None:
        """Those that are ready wait for the others in their first collective, spinning."""
        all_ready = max(self._ready)
        for gpu in range(self.count):
            activity = self.activities[gpu]
            done = min(1.0, max(0.0, (second - self._begins[gpu]) / (self._ready[gpu] - self._begins[gpu])))
            self.processes[gpu] = [grown(self._seats[gpu], 0.5 + done * self.gib)] if second >= 1 else []
            if second < all_ready:
                self.work(gpu, 0.06 * self.chance.random(), pcie=0.0)
                if done < 1.0:
                    activity.pcie_rx = self.chance.uniform(0.5e9, 4e9)
                elif gpu % 2 == 0:
                    activity.busy, activity.spin = 1.0, 0.9
            elif second < all_ready + self._compiles_s:
                # Graph capture and autotuning: short, uneven fits of work.
                self.work(gpu, self.chance.choice((0.0, 0.1, 0.6, 1.0)))
            else:
                self.work(gpu, 0.93 + 0.05 * self.chance.random())
                activity.busy = 1.0
                if self.cards[gpu].ports is not None:
                    activity.link = 9e9


class Notebook(Apart):
    """One board is used, by fits; the others rest."""

    def __init__(self, seed: int, make: Make, count: int) -> None:
        super().__init__(seed, make, count)
        self._used = self.chance.randrange(count)
        self._steady = self.chance.random() < 0.5
        self.processes[self._used] = [worker(self.pid, gib=6.0, user="lin", name="ipykernel_launcher")]
        for activity in self.activities:
            activity.awake = False

    def live(self, second: int) -> None:
        """Steady small work, or none for half a minute and then much."""
        part = self.chance.uniform(0.3, 0.5) if self._steady else float(wave(second, 80.0, 0.0) > 0.2)
        self.work(self._used, part)


class Spotlight(Apart):
    """Independent boards hard at work, one of them warm: so many degrees below where it would have to slow down."""

    def __init__(self, seed: int, make: Make, count: int, *, below_c: float) -> None:
        super().__init__(seed, make, count)
        self._below_c = below_c
        self._blocked = 0.3
        for gpu in range(count):
            self.processes[gpu] = [worker(self.pid + gpu, gib=self.gib, name="train.py", user="ada")]
        self._warm = self.chance.randrange(count)
        for second in range(900):
            self.live(second)
            for card, activity in zip(self.cards, self.activities, strict=True):
                card.step(activity)

    def live(self, second: int) -> None:  # noqa: ARG002  # every second is alike
        """Hard work everywhere; one board gets less air, and keeps its clocks all the same."""
        for gpu, card in enumerate(self.cards):
            self.work(gpu, 0.97 + 0.03 * self.chance.random(), compute=1.0, traffic=0.8)
            if gpu == self._warm:
                # Air is given and taken so that the chip stays where it shall.
                error = card.make.slowdown_c - 3.0 - self._below_c - card.degrees
                self._blocked = min(0.85, max(0.0, self._blocked + 0.002 * error))
                card.ails = Ailment(blocked_air=min(0.85, max(0.0, self._blocked + 0.02 * error)))


class Held(Apart):
    """Memory is held on some boards, and nothing is computed there for the whole time."""

    def __init__(self, seed: int, make: Make, count: int, *, now_and_then: bool) -> None:
        super().__init__(seed, make, count)
        self.holding = frozenset(self.chance.sample(range(count), self.chance.randint(1, count)))
        self._now_and_then = now_and_then
        for gpu in range(count):
            if gpu in self.holding:
                self.processes[gpu] = [worker(self.pid + gpu, gib=self.gib, user="ada", name="jupyter-kernel")]
            self.activities[gpu].awake = gpu in self.holding

    def live(self, second: int) -> None:
        """Nothing, or a request every minute or so."""
        for gpu in self.holding:
            at_work = self._now_and_then and (second + 23 * gpu) % 70 < 5
            self.work(gpu, 0.9 if at_work else 0.0)


class Unlike(Apart):
    """A group of which one board is of another make, firmware or limit."""

    def __init__(self, seed: int, make: Make, other: Make, count: int, how: str) -> None:
        super().__init__(seed, make, count)
        self.odd = self.chance.randrange(count)
        card = self.cards[self.odd]
        if how == "model":
            self.cards[self.odd] = Card(other, self.odd, random.Random(f"{seed}/odd"))
            wire(self.cards)
        elif how == "firmware":
            card.vbios = "92.00.19.00.01"
        else:
            card.ails = Ailment(limit_w=round(make.limit_w * 0.75))
        for gpu in range(count):
            self.processes[gpu] = [
                worker(
                    self.pid + gpu,
                    gib=min(make.memory_gib, other.memory_gib) * 0.5,
                    name=f"VLLM::Worker_TP{gpu}",
                    group=f"vllm:acme/large@{self.pid}",
                    rank=gpu,
                    size=count,
                    split="tensor",
                )
            ]

    def live(self, second: int) -> None:
        """Light work, so that it is about the boards and not about waiting."""
        part = 0.5 + 0.2 * wave(second, 90.0, 0.0)
        for gpu in range(self.count):
            self.work(gpu, part, compute=0.4, traffic=0.5)
            if self.cards[gpu].ports is not None:
                self.activities[gpu].link = 5e9
