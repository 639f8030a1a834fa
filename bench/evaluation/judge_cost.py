"""What one judgement costs the processor, with a history as long as it gets in minutes."""

from statistics import median
from time import process_time

from msgspec import Struct, structs

from evaluation.lockstep import Lockstep, Style
from evaluation.plant import MAKES
from evaluation.scene import SceneWorld, worker
from evaluation.sensors import Sensors
from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.history import History

_WARM_UP_S = 200
_MEASURED_S = 150
_STYLE = Style(
    load=0.8,
    swing=0.2,
    period_s=90.0,
    compute=0.6,
    traffic=0.7,
    by_clock=0.8,
    comm=0.1,
    over_pcie=False,
    link_bytes=2e10,
)


class JudgeCost(Struct, frozen=True, kw_only=True):
    """One case beside its bar."""

    case: str
    median_ms: float
    worst_ms: float
    bar_ms: float


def judge_costs() -> list[JudgeCost]:
    """The two cases that have a bar."""
    return [_measure("8 GPUs, 8 processes", 8, 1, 3.0), _measure("16 GPUs, 60 processes", 16, 4, 25.0)]


def _measure(case: str, gpus: int, processes: int, bar_ms: float) -> JudgeCost:
    scene = Lockstep(7, MAKES[0], gpus, _STYLE)
    for gpu in range(gpus):
        # Fifteen boards with four, one with none beside its rank: sixty in all.
        more = processes - 1 if gpu else 0
        scene.processes[gpu] += [
            worker(50_000 + 10 * gpu + number, gib=1.0, name="text-embeddings-router") for number in range(more)
        ]
    world = SceneWorld(lambda _: scene, Sensors(gains=(1.0,) * gpus), 7, _WARM_UP_S + _MEASURED_S)
    history = History()
    engine = Engine(Config(), history)
    spent: list[float] = []
    for second, frame in world.play():
        history.append(structs.replace(frame), second)
        began = process_time()
        engine.judge(frame, second)
        spent.append((process_time() - began) * 1000.0)
    measured = spent[_WARM_UP_S:]
    return JudgeCost(case=case, median_ms=median(measured), worst_ms=max(measured), bar_ms=bar_ms)
