"""What the dashboard costs in a real terminal beside nvitop: start, processor, memory, and bytes for the line to carry."""

import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from processes import cpu_seconds, proportional_mib
from results import OURS, Figure
from stage import NotAnsweringError, Stage, set_up
from support.terminal import Terminal, terminals

SIZE = (160, 48)
NVITOP = "nvitop"
WARM_UP_S = 8.0
_PATIENCE_S = 20.0
CROWD_GPUS, CROWD = 16, 500


def measure_start(stage: Stage, runs: int) -> list[Figure]:
    """From the interpreter's start to the first picture, and to the first numbers in it."""
    took: dict[str, list[tuple[float, float]]] = {OURS: [], NVITOP: []}
    commands = {OURS: (stage.gpuwatch, b"Overview", b"util %"), NVITOP: (stage.peer("nvitop"), b"NVITOP", b"Fan")}
    for command, _, _ in commands.values():
        _milliseconds(command, stage.env, b"GPU", b"GPU")
    for _ in range(runs):
        for program, (command, paint, data) in commands.items():
            took[program].append(_milliseconds(command, stage.env, paint, data))
    figures = []
    for program, pairs in took.items():
        for name, place, target in (("first paint", 0, 400.0), ("first data on the screen", 1, None)):
            value = statistics.median(pair[place] for pair in pairs)
            wanted = target if program == OURS else None
            figures.append(Figure(name, program, value, "ms", target=wanted, note=f"median of {runs}{_load()}"))
    return figures


def _milliseconds(command: Sequence[str], env: dict[str, str], paint: bytes, data: bytes) -> tuple[float, float]:
    """On a pseudo-terminal of its own, from fork to the bytes that are looked for."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
    environ = {**env, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
    ) as process:
        os.close(slave)
        seen, painted = b"", None
        try:
            while data not in seen or painted is None:
                if not select.select([master], [], [], _PATIENCE_S)[0]:
                    raise NotAnsweringError(f"{command} showed {seen[-200:]!r} and no {data!r}")
                seen += os.read(master, 1 << 16)
                now = (time.perf_counter() - began) * 1000
                if painted is None and paint in seen:
                    painted = now
            return painted, now
        finally:
            process.terminate()
            while process.poll() is None:
                if select.select([master], [], [], 0.02)[0]:
                    try:
                        os.read(master, 1 << 16)
                    except OSError:
                        break
            os.close(master)


def measure_running(stage: Stage, seconds: float) -> list[Figure]:
    """Both in terminals of the same size over the same driver, one after the other, twice each, the better one counting."""
    ours = [_one_run(stage, stage.gpuwatch, "util %", seconds) for _ in range(2)]
    peer = [_one_run(stage, [*stage.peer("nvitop"), "--interval", "1"], "Fan", seconds) for _ in range(2)]
    cpu, peers_cpu = (min(run[0] for run in runs) for runs in (ours, peer))
    where = f"{SIZE[0]}×{SIZE[1]} in tmux, 8 GPUs, 1 s{_load()}"
    return [
        Figure(
            "dashboard, processor", OURS, cpu, "%", target=round(peers_cpu, 2), note=f"with agent and sampler, {where}"
        ),
        Figure("dashboard, processor", NVITOP, peers_cpu, "%", note=where),
        Figure(
            "dashboard, memory", OURS, max(run[1] for run in ours), "MiB", target=90, note="with agent and sampler, Pss"
        ),
        Figure("dashboard, memory", NVITOP, max(run[1] for run in peer), "MiB", note="Pss"),
        Figure("written to the terminal", OURS, max(run[2] for run in ours), "bytes/s", note=where),
        Figure("written to the terminal", NVITOP, max(run[2] for run in peer), "bytes/s", note=where),
    ]


def measure_crowded(stage: Stage, seconds: float) -> list[Figure]:
    """Sixteen boards with five hundred processes."""
    with set_up(stage.folder / "crowd", CROWD_GPUS, CROWD) as crowd:
        ours = _one_run(crowd, stage.gpuwatch, "util %", seconds)
        peer = _one_run(crowd, [*stage.peer("nvitop"), "--interval", "1"], "Fan", seconds)
    note = f"{CROWD_GPUS} GPUs, {CROWD} processes{_load()}"
    return [
        Figure("dashboard, crowded, processor", OURS, ours[0], "%", target=10, note=note),
        Figure("dashboard, crowded, processor", NVITOP, peer[0], "%", note=note),
        Figure("dashboard, crowded, written", OURS, ours[2], "bytes/s", note=note),
        Figure("dashboard, crowded, written", NVITOP, peer[2], "bytes/s", note=note),
    ]


def _one_run(stage: Stage, command: Sequence[str], told: str, seconds: float) -> tuple[float, float, float]:
    """Share of a core, MiB and bytes a second, after it has warmed up."""
    with tempfile.TemporaryDirectory() as folder, terminals(Path(folder)) as opened:
        terminal = opened(SIZE, stage.env)
        terminal.run(*command)
        terminal.wait_for(told)
        _listen(terminal, WARM_UP_S)
        pid = terminal.running()
        cpu, written, began = cpu_seconds(pid), terminal.written, time.monotonic()
        _listen(terminal, seconds)
        took = time.monotonic() - began
        share = 100 * (cpu_seconds(pid) - cpu) / took
        return share, proportional_mib(pid), (terminal.written - written) / took


def _listen(terminal: Terminal, seconds: float) -> None:
    """Time goes by, and what is written is counted."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        terminal.listen(left)


HOURS = """
import asyncio, json, sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from support.dashboard_story import story
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch.tui.app import GpuwatchApp
from msgspec import structs

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)

async def scene():
    told = story("dgx-h100-8", 120)
    feed = RecordedFeed(told.frames, topology=told.topology, kind="embedded")
    app = GpuwatchApp(feed, wall_clock=lambda: told.frames[-1].taken_at)
    seen = []
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        at = told.frames[-1].taken_at
        for second in range(1, 7201):
            at += 1
            feed.play(structs.replace(told.frames[second % 120], taken_at=at))
            if second % 5 == 0:
                app.show_now()
            if second % 50 == 0:
                await pilot.pause()
            if second in (600, 3600, 7200):
                seen.append(resident())
    print(json.dumps(seen))

asyncio.run(scene())
"""


def measure_hours(stage: Stage) -> list[Figure]:
    """Memory of the dashboard without its sampler, while two simulated hours go by."""
    code = HOURS.format(tests=str(Path(__file__).resolve().parent.parent / "tests"))
    done = subprocess.run([sys.executable, "-c", code], env=stage.env, capture_output=True, text=True, check=True)
    early, hour, two = json.loads(done.stdout)
    note = "resident, the recorded hour in it, no sampler"
    return [
        Figure("dashboard after 10 simulated minutes", OURS, early, "MiB", note=note),
        Figure("dashboard after a simulated hour", OURS, hour, "MiB", note=note),
        Figure("growth in the second hour", OURS, two - hour, "MiB", target=2, note=note),
    ]


def _load() -> str:
    """How busy the machine was otherwise, in the note: figures from a busy machine are upper bounds."""
    return f", load {os.getloadavg()[0]:.1f}"
