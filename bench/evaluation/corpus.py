"""Which episodes there are: every fault at several strengths and times, and what is healthy and looks like it."""

import random
import zlib
from collections.abc import Callable

from msgspec import structs

from evaluation.apart import Apart, Held, Layers, Loading, Notebook, Replicas, Spotlight, Stages, Unlike
from evaluation.harmless import HARMLESS, lay_harmless
from evaluation.labels import Episode, Truth, World
from evaluation.lockstep import TOLD, TROUBLES, Lockstep, Style, random_make, random_style, random_trouble
from evaluation.machines import random_rack
from evaluation.plant import MAKES, Make
from evaluation.recipes import FAULT_NAMES, cook
from evaluation.scene import Scene, SceneWorld, Trouble
from evaluation.sensors import Sensors, random_sensors
from evaluation.simulated_world import SimulatedWorld
from gpuwatch_agent.hardware.simulated import boards

DEFAULT_EPISODES = 960
DEFAULT_SEED = 4_669_201
_HALF_AN_HOUR_S = 1_950

Maker = Callable[[random.Random, int], tuple[World, bool]]
"""From chance and a seed to a world, and whether it is healthy."""


def _length(chance: random.Random) -> int:
    """Four to eight minutes."""
    return chance.randint(240, 480)


def _faulty_machine(name: str) -> Maker:
    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        while True:
            rack = random_rack(chance)
            recipe = cook(chance, rack, name, seconds)
            if recipe is not None:
                sensors = random_sensors(chance, rack.machine.gpus, seconds)
                return SimulatedWorld(rack, recipe, _kept(sensors, recipe.gpu), seed, seconds), False

    return make


def _kept(sensors: Sensors, gpu: int) -> Sensors:
    """A gap in the readings of the faulty GPU may hide its fault for as long as it lasts, and so is no fair question."""
    return structs.replace(
        sensors,
        blanks=tuple(gap for gap in sensors.blanks if gap.gpu != gpu),
        stale=tuple(gap for gap in sensors.stale if gap.gpu != gpu),
        frozen=tuple(one for one in sensors.frozen if one[1].gpu != gpu),
    )


def _held_machine(chance: random.Random, seed: int) -> tuple[World, bool]:
    """Half an hour without work is what the kind means by idle."""
    seconds = _HALF_AN_HOUR_S
    rack = random_rack(chance)
    rack = structs.replace(rack, machine=structs.replace(rack.machine, jobs=rack.machine.jobs[: len(rack.groups)]))
    recipe = cook(chance, rack, "idle-allocation", seconds)
    if recipe is None:
        raise AssertionError
    overlays = tuple(structs.replace(one, start_s=None, end_s=None) for one in recipe.overlays)
    dues = tuple(structs.replace(one, after_s=1_800.0) for one in recipe.dues)
    recipe = structs.replace(recipe, overlays=overlays, dues=dues, start_s=None, ends_s=None)
    sensors = random_sensors(chance, rack.machine.gpus, seconds)
    return SimulatedWorld(rack, recipe, structs.replace(sensors, silences=()), seed, seconds), False


def _healthy_machine(chance: random.Random, seed: int) -> tuple[World, bool]:
    seconds = _length(chance)
    rack = random_rack(chance)
    return SimulatedWorld(rack, None, random_sensors(chance, rack.machine.gpus, seconds), seed, seconds), True


def _busy_machine(chance: random.Random, seed: int) -> tuple[World, bool]:
    """All at their power limit, all day."""
    seconds = _length(chance)
    rack = random_rack(chance, board=chance.choice((boards.H100, boards.A100, boards.RTX_3090)))
    jobs = tuple(structs.replace(job, load=1.0, swing=0.0, heat=job.heat * 1.25) for job in rack.machine.jobs)
    rack = structs.replace(rack, machine=structs.replace(rack.machine, jobs=jobs))
    return SimulatedWorld(rack, None, random_sensors(chance, rack.machine.gpus, seconds), seed, seconds), True


def _harmless_machine(name: str) -> Maker:
    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        rack = random_rack(chance, board=boards.H100 if name == "boot" else None)
        recipe = lay_harmless(chance, rack, name, seconds)
        sensors = random_sensors(chance, rack.machine.gpus, seconds)
        return SimulatedWorld(rack, recipe, sensors, seed, seconds, rested=name != "boot"), True

    return make


def _troubled_ranks(name: str) -> Maker:
    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        board = random_make(chance)
        if name == "links":
            board = chance.choice([one for one in MAKES if one.links])
        elif name == "narrow":
            board = chance.choice([one for one in MAKES if not one.links])
        count = chance.randint(2, 8)
        members = _members(chance, count)
        style = random_style(chance, board)
        trouble = random_trouble(chance, name, members, seconds)
        sensors = _kept(random_sensors(chance, count, seconds), trouble.gpu)
        if name == "stuck":
            # Without counters of the links a hang and an idle engine that spins are one and the same.
            sensors = structs.replace(sensors, link_bytes=True)
        told = chance.choice(TOLD)
        lanes = chance.choice((None, 8))

        def scene(sick: bool) -> Scene:
            return Lockstep(
                seed, board, count, style, trouble if sick else None, told=told, members=members, lanes=lanes
            )  # fmt: skip

        return SceneWorld(scene, sensors, seed, seconds), False

    return make


def _members(chance: random.Random, count: int) -> tuple[int, ...]:
    if count > 3 and chance.random() < 0.3:
        return tuple(range(chance.randint(2, count - 1)))
    return tuple(range(count))


def _ranks(change: Callable[[random.Random, Style], Style], **given: object) -> Maker:
    """Healthy ranks in step, in a certain style."""

    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        consumer = given.get("display") is True
        board: Make = (
            next(one for one in MAKES if "RTX" in one.name) if consumer else random_make(chance)
        )  # fmt: skip
        count = 2 if consumer else chance.randint(2, 8)
        style = change(chance, random_style(chance, board))
        members = _members(chance, count)
        told = chance.choice(TOLD)
        lanes = chance.choice((None, 8))

        def scene(sick: bool) -> Scene:
            del sick  # nothing is wrong
            made = Lockstep(seed, board, count, style, told=told, members=members, lanes=lanes)
            if consumer:
                _attach_display(made)
            return made

        return SceneWorld(scene, random_sensors(chance, count, seconds), seed, seconds), True

    return make


def _attach_display(scene: Lockstep) -> None:
    from evaluation.scene import worker

    scene.cards[0].display = True
    scene.processes[0].append(worker(2_001, gib=0.6, user="root", name="Xorg", kind="graphics"))
    scene.processes[0].append(worker(2_950, gib=0.3, user="lin", name="firefox", kind="graphics"))


def _alone(build: Callable[[random.Random, int, Make, int], Apart], *, healthy: bool = True) -> Maker:
    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        board, count = random_make(chance), chance.randint(2, 8)
        state = chance.getstate()

        def scene(sick: bool) -> Scene:
            del sick
            again = random.Random()
            again.setstate(state)
            return build(again, seed, board, count)

        return SceneWorld(scene, random_sensors(chance, count, seconds), seed, seconds), healthy

    return make


class _Declared(SceneWorld):
    """A scene whose truths are given."""

    def __init__(self, scene: Callable[[bool], Scene], sensors: Sensors, seed: int, seconds: int, truth: Truth) -> None:
        super().__init__(scene, sensors, seed, seconds)
        self._truth = truth

    def truths(self) -> list[Truth]:
        return [*super().truths(), self._truth, *self._beside()]

    def _beside(self) -> list[Truth]:
        """Boards that are unlike may well wait for each other."""
        if self._truth.kind != "mixed_hardware":
            return []
        return [
            structs.replace(self._truth, kind=kind, required=False, least="info")
            for kind in ("tp_imbalance", "power_throttle")
        ]


def _unlike(how: str) -> Maker:
    def make(chance: random.Random, seed: int) -> tuple[World, bool]:
        seconds = _length(chance)
        board = random_make(chance)
        other = chance.choice([one for one in MAKES if one.name != board.name])
        count = chance.randint(2, 8)
        odd = Unlike(seed, board, other, count, how).odd
        everybody = frozenset(range(count))
        truth = Truth(
            kind="mixed_hardware", gpus=frozenset({odd}), group=everybody, starts_s=0.0, onset_s=0.0, least="info", fault=how
        )  # fmt: skip
        sensors = random_sensors(chance, count, seconds)
        return _Declared(lambda _: Unlike(seed, board, other, count, how), sensors, seed, seconds, truth), False

    return make


def _badly_placed(chance: random.Random, seed: int) -> tuple[World, bool]:
    """Two ranks on boards that no link joins, while their linked siblings rest."""
    seconds = 480
    board = next(one for one in MAKES if one.links == 12)
    count = 4
    members = chance.choice(((0, 2), (1, 2), (0, 3), (1, 3)))
    style = structs.replace(random_style(chance, board), over_pcie=True, link_bytes=chance.uniform(1e9, 6e9))
    everybody = frozenset(members)
    truth = Truth(
        kind="slow_placement", gpus=everybody, group=frozenset(range(count)), starts_s=0.0, onset_s=0.0, least="info",
        fault="placement",
    )  # fmt: skip
    sensors = random_sensors(chance, count, seconds)
    return (
        _Declared(
            lambda _: Lockstep(seed, board, count, style, members=members, pairs=True), sensors, seed, seconds, truth
        ),
        False,
    )


def _well_placed(chance: random.Random, seed: int) -> tuple[World, bool]:
    """Two ranks on joined boards, the others at rest."""
    seconds = 480
    board = next(one for one in MAKES if one.links == 12)
    style = random_style(chance, board)
    members = chance.choice(((0, 1), (2, 3)))
    return (
        SceneWorld(
            lambda _: Lockstep(seed, board, 4, style, members=members, pairs=True),
            random_sensors(chance, 4, seconds),
            seed,
            seconds,
        ),
        True,
    )


def _as_it_is(_: random.Random, style: Style) -> Style:
    return style


def _bursting(chance: random.Random, style: Style) -> Style:
    return structs.replace(style, bursts=chance.uniform(0.05, 0.2), swing=0.3)


def _spinning(chance: random.Random, style: Style) -> Style:
    return structs.replace(
        style, idle="spin", silent_spin=chance.random() < 0.5, load=0.0, swing=chance.choice((0.0, 0.3)), period_s=200.0,
        bursts=0.0, pause_every_s=0.0,
    )  # fmt: skip


def _pausing(chance: random.Random, style: Style) -> Style:
    return structs.replace(style, pause_every_s=chance.choice((45.0, 90.0)), pause_s=chance.uniform(5.0, 30.0))


def _skewed(chance: random.Random, style: Style) -> Style:
    return structs.replace(style, skew=chance.uniform(0.03, 0.06))


def _quiet(chance: random.Random, style: Style) -> Style:
    return structs.replace(style, load=chance.uniform(0.0, 0.25), swing=0.2, idle="sleep")


FAMILIES: tuple[tuple[str, int, Maker], ...] = (
    *((f"machine/{name}", 9 if name in {"hot", "power-cap", "slow-rank", "noisy-neighbour"} else 5, _faulty_machine(name))
      for name in FAULT_NAMES if name != "idle-allocation"),
    ("machine/idle-allocation", 2, _held_machine),
    *((f"ranks/{name}", 3 if name in {"narrow", "links"} else 8, _troubled_ranks(name)) for name in TROUBLES),
    *((f"unlike/{how}", 3, _unlike(how)) for how in ("model", "firmware", "limit")),
    ("warm/close to the limit", 4, _alone(lambda _, seed, make, count: Spotlight(seed, make, count, below_c=1.0), healthy=False)),
    ("placed/badly", 4, _badly_placed),
    ("healthy/machine", 24, _healthy_machine),
    ("healthy/at the power limit", 8, _busy_machine),
    *((f"healthy/{name}", 5, _harmless_machine(name)) for name in HARMLESS),
    ("healthy/ranks", 20, _ranks(_as_it_is)),
    ("healthy/prefill bursts", 8, _ranks(_bursting)),
    ("healthy/idle spinning", 8, _ranks(_spinning)),
    ("healthy/checkpoints", 6, _ranks(_pausing)),
    ("healthy/experts", 6, _ranks(_skewed)),
    ("healthy/hardly used", 6, _ranks(_quiet)),
    ("healthy/display", 6, _ranks(_as_it_is, display=True)),
    ("healthy/replicas", 10, _alone(lambda chance, seed, make, count: Replicas(seed, make, count, titled=chance.random() < 0.5))),
    ("healthy/layers", 8, _alone(lambda _, seed, make, count: Layers(seed, make, count))),
    ("healthy/stages", 8, _alone(lambda _, seed, make, count: Stages(seed, make, count))),
    ("healthy/loading", 10, _alone(lambda chance, seed, make, count: Loading(seed, make, count, titled=chance.random() < 0.7))),
    ("healthy/notebook", 8, _alone(lambda _, seed, make, count: Notebook(seed, make, count))),
    ("healthy/hot not throttling", 6, _alone(lambda _, seed, make, count: Spotlight(seed, make, count, below_c=8.0))),
    ("healthy/memory held for minutes", 6,
     _alone(lambda chance, seed, make, count: Held(seed, make, count, now_and_then=chance.random() < 0.6))),
    ("placed/well", 3, _well_placed),
)  # fmt: skip
"""Every family with its weight."""


def plan(episodes: int, seed: int) -> list[tuple[str, int]]:
    """Which families in which order, with a number each; every family comes by its weight, and at least once."""
    total = sum(weight for _, weight, _ in FAMILIES)
    planned = []
    for name, weight, _ in FAMILIES:
        count = max(1, round(episodes * weight / total))
        planned += [(name, seed + number) for number in range(count)]
    return planned


def build(name: str, number: int) -> Episode:
    """One episode, always the same for the same name and number."""
    maker = next(maker for family, _, maker in FAMILIES if family == name)
    seed = zlib.crc32(f"{name}#{number}".encode())
    world, healthy = maker(random.Random(seed), seed)
    return Episode(name=name, seed=f"{name}#{number}", world=world, healthy=healthy)


__all__ = ["DEFAULT_EPISODES", "DEFAULT_SEED", "FAMILIES", "Trouble", "build", "plan"]
