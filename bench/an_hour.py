"""Whether memory stays flat: an hour of one-second samples through sampler, ledger, history and hub, in simulated time."""

import json
import subprocess
import sys

from results import OURS, Figure
from stage import Stage

# In a process of its own, so that what the bench itself holds does not count.
HOUR = """
import json
from pathlib import Path

from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.sampling.rig import Rig

now = 1_795_176_000.0
clock = lambda: now
rig = Rig(SimulatedHardware("dgx-h100-8", clock=clock), Config(), clock=clock, wall_clock=clock)
ledger, history, hub = Ledger(clock, clock), History(), FrameHub(clock)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)

rig.open()
seen = []
for second in range(2 * 3600 + 1):
    frame = ledger.complete(rig.read())
    history.append(frame, now)
    hub.publish(frame)
    hub.newest.json
    now += 1
    if second in (600, 3600, 7200):
        seen.append(resident())
print(json.dumps(seen))
"""


def measure(stage: Stage) -> list[Figure]:
    """Resident memory after ten minutes, and how much it has grown after one hour and after two."""
    done = subprocess.run([sys.executable, "-c", HOUR], env=stage.env, capture_output=True, text=True, check=True)
    early, hour, two = json.loads(done.stdout)
    note = "8 GPUs, all parts in one process"
    return [
        Figure("memory after 10 simulated minutes", OURS, early, "MiB", note=note),
        Figure("growth from there to 1 h", OURS, hour - early, "MiB", target=2, note=note),
        Figure("growth from there to 2 h", OURS, two - early, "MiB", target=2, note=note),
    ]
