"""What may be laid over a machine without any harm: nothing above an info may be said of it."""

import random

from evaluation.machines import Rack
from evaluation.recipes import Recipe
from gpuwatch_agent.hardware.simulated.spec import Overlay

HARMLESS = (
    "application xid",
    "corrected errors",
    "a replay now and then",
    "little more memory",
    "no permission",
    "boot",
)

_APPLICATION_XIDS = (13, 31, 43, 45)


def lay_harmless(chance: random.Random, rack: Rack, name: str, seconds: int) -> Recipe:
    """One harmless thing on one GPU, or on all at boot."""
    gpu = chance.randrange(rack.machine.gpus)
    group = next((group for group in rack.groups if gpu in group), rack.groups[0])
    gpu = gpu if gpu in group else group[0]
    start = float(chance.randint(10, seconds - 60))
    overlays: tuple[Overlay, ...]
    if name == "application xid":
        overlays = tuple(
            Overlay(name="xid", gpus=(gpu,), strength=float(chance.choice(_APPLICATION_XIDS)), start_s=start + after)
            for after in range(chance.randint(1, 3))
        )
    elif name == "corrected errors" and rack.machine.board.has_ecc:
        overlays = (Overlay(name="ecc-storm", gpus=(gpu,), strength=chance.uniform(0.005, 0.05)),)
    elif name == "a replay now and then":
        overlays = (Overlay(name="pcie-errors", gpus=(gpu,), strength=chance.uniform(0.002, 0.02)),)
    elif name == "little more memory":
        little = rack.machine.board.memory_bytes / (1 << 30) * chance.uniform(0.002, 0.015)
        overlays = (Overlay(name="memory-imbalance", gpus=(gpu,), strength=round(little, 2)),)
    elif name == "no permission":
        overlays = (Overlay(name="no-permission", gpus=tuple(range(rack.machine.gpus))),)
    elif name == "boot":
        everybody = tuple(range(rack.machine.gpus))
        ready = float(chance.randint(20, 90))
        overlays = tuple(
            Overlay(name="nvlink-down", gpus=everybody, strength=float(link), start_s=0.0, end_s=ready)
            for link in range(len(rack.machine.links[0]) if rack.machine.links else 0)
        )
    else:
        overlays = ()
    return Recipe(name="harmless", gpu=gpu, overlays=overlays)
