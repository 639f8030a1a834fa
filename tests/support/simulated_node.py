"""A simulated machine as one reading shows it, on a clock that goes only where it is told to go."""

from msgspec import structs

from gpuwatch_agent.config import Config, SamplingSection
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0
# A GPU that hangs is waited for in real time: no longer than it takes to know that it does.
_QUICK = Config(sampling=SamplingSection(deadline_s=0.05))


def read_simulated(machine: str, *, after_s: float = 1.0) -> tuple[Frame, Topology]:
    """What a node called node07 says `after_s` after its first reading; nothing of the real host is in it."""
    now = NOON

    def clock() -> float:
        return now

    # Counters and activities need their second reading.
    rig = Rig(SimulatedHardware(machine, clock=clock), _QUICK, clock=clock, wall_clock=clock)
    rig.open()
    rig.read(tuple(Tier))
    now += after_s
    frame = structs.replace(rig.read(tuple(Tier)), node="node07", host=None)
    placements = rig.placements()
    rig.close()
    topology = build_topology(frame.gpus, placements, node="node07", taken_at=now, simulated=True)
    return frame, topology
