"""Jobs of real processes, and the frame that the agent makes of them with a fake driver's list around them.

Every process ends when its standard input does, so that none outlives its test, and says when it is ready on its
standard output, so that nobody waits by the clock.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from fake_nvml.fixtures import FakeNode
from fake_nvml.scenario import Scenario
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.config import Config, HardwareSection
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.sampling.rig import Rig

GIB = 1 << 30
_MOST_READINGS = 40

# Starts the titles it is given as children of their own and prints their PIDs; a title with children in brackets:
# `VLLM::EngineCore[VLLM::Worker_TP0 VLLM::Worker_TP1]`. Titles without children are the ranks.
TREE = """
import subprocess, sys

COMMON = '''
import ctypes, os
def become():
    if "BECOME" in os.environ:
        os.setuid(int(os.environ["BECOME"]))
        # Else the kernel lets /proc/PID belong to root, as it does for whoever changes its user.
        ctypes.CDLL(None).prctl(4, 1)
'''
CHILD = COMMON + '''
import subprocess, sys
from setproctitle import setproctitle
children = [subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], title], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True) for title in sys.argv[3:]]
pids = [child.stdout.readline().strip() for child in children] or [str(os.getpid())]
setproctitle(sys.argv[2])
become()
print(*pids, flush=True)
sys.stdin.read()
for child in children:
    child.communicate()
'''
exec(COMMON)

def parts(spec):
    title, _, inner = spec.partition("[")
    return [title, *inner.rstrip("]").split()]

children = [subprocess.Popen([sys.executable, "-c", CHILD, CHILD, *parts(spec)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True) for spec in TITLES]
pids = [child.stdout.readline().strip() for child in children]
become()
print(*pids, flush=True)
sys.stdin.read()
for child in children:
    child.communicate()
"""


def start(stack: ExitStack, argv: Sequence[str | Path], **options: object) -> tuple[int, str]:
    """A child that has printed its first line; it ends when its stdin does."""
    child = subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload]
    stack.callback(child.communicate, timeout=30)
    return child.pid, child.stdout.readline()


def start_engine(
    stack: ExitStack, program: Path, titles: Sequence[str], arguments: Sequence[str], **options: object
) -> tuple[int, list[int]]:
    """An engine of that name whose children bear these titles: its PID, and those of its ranks in the titles' order."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(TREE.replace("TITLES", repr(list(titles))))
    pid, line = start(stack, [sys.executable, program, *arguments], **options)
    return pid, [int(word) for word in line.split()]


def frame_of(
    node: FakeNode,
    pids: Mapping[int, int],
    *,
    config: Config | None = None,
    proc: Path | None = None,
    gpus: int = 4,
) -> Frame:
    """What the sampler reads while the driver lists these processes, one to a GPU."""
    scenario = Scenario.of("h100", gpus)
    for index in range(gpus):
        scenario.gpu(index).processes.clear()
    for index, pid in pids.items():
        scenario.gpu(index).process(pid, 60 * GIB, 90)
    node.become(scenario)
    rig = Rig(NvmlHardware(), config or Config(hardware=HardwareSection(events=False)))
    if proc is not None:
        rig._process_table = ProcessTable(proc)
    rig.open()
    try:
        return _with_processes(rig, set(pids))
    finally:
        rig.close()


def _with_processes(rig: Rig, indices: set[int]) -> Frame:
    """The processes come from a thread that the sample does not wait for longer than it must."""
    for _ in range(_MOST_READINGS):
        frame = rig.read(tuple(Tier))
        if rig._ras is not None:
            rig._ras.take(10)
        asked = rig._ras is None or rig._ras._tally.runs > 0
        if asked and indices <= {gpu.index for gpu in frame.gpus if gpu.processes}:
            return rig.read(tuple(Tier))
    raise AssertionError("the processes that the driver lists never came")


def copied_proc(folder: Path, pids: Sequence[int], cgroup: str) -> Path:
    """A /proc with these processes and their ancestors as they are, but for the control group."""
    for name in ("stat", "uptime"):
        shutil.copyfile(f"/proc/{name}", folder / name)
    for pid in ProcessTable().facts(pids):
        place = folder / str(pid)
        place.mkdir()
        for name in ("stat", "cmdline", "environ"):
            with suppress(PermissionError):
                (place / name).write_bytes(Path(f"/proc/{pid}/{name}").read_bytes())
        (place / "cgroup").write_text(f"0::{cgroup if pid in pids else '/init.scope'}\n")
    return folder
