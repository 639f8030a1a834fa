"""Frames of this machine's own: real processes that say they hold GPUs, for what looks into /proc or sends signals."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch_agent.attribution.procfs import ProcessTable
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process

GIB = 1 << 30
_WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


def worker(stack: ExitStack, *, environ: dict[str, str] | None = None, code: str = _WAITS) -> subprocess.Popen[str]:
    """A process that waits for the end of its standard input, and is there when this returns."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.callback(child.communicate)
    stack.callback(child.kill)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def process_of(pid: int, memory_gib: int = 10, **changes: object) -> Process:
    """The process as the agent would tell it."""
    facts = ProcessTable().facts([pid])[pid]
    told = {
        "user": facts.user,
        "name": facts.name,
        "command": " ".join(facts.command or ()),
        "started_at": facts.started_at,
        "memory_bytes": memory_gib * GIB,
        "sm_pct": 50.0,
        **changes,
    }
    return Process(pid=pid, **told)  # type: ignore[arg-type]  # the changes are the caller's


def frame_with(processes: Sequence[Sequence[Process]], taken_at: float) -> Frame:
    """One GPU for each list."""
    gpus = [
        Gpu(index=index, uuid=f"GPU-{index}", state="ok", processes=list(there), memory_total_bytes=80 * GIB)
        for index, there in enumerate(processes)
    ]
    return Frame(node="node07", taken_at=taken_at, simulated=False, gpus=gpus)


def local_app(frame: Frame, *, read_only: bool = False) -> GpuwatchApp:
    """A dashboard that takes the frame for this machine's present."""
    return GpuwatchApp(RecordedFeed([frame], kind="embedded"), wall_clock=lambda: frame.taken_at, read_only=read_only)
