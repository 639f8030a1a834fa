"""How long one look takes, from cold to the last byte, beside the peers' and beside the floor of Python and NVML."""

import statistics
import subprocess
import sys
import time

from results import OURS, Figure
from stage import NotAnsweringError, Stage

MEASUREMENT = "one look, cold"
FLOOR = "floor: python, pynvml, nvmlInit"


def milliseconds(command: list[str], env: dict[str, str]) -> float:
    """One run until its output has ended."""
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    took = (time.perf_counter() - began) * 1000
    if done.returncode != 0 or (not done.stdout and "-c" not in command):
        raise NotAnsweringError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    return took


def measure(stage: Stage, runs: int) -> list[Figure]:
    """Interleaved, so that a change in the machine's mood meets all alike."""
    env = {**stage.env, "COLUMNS": "120", "TERM": "xterm-256color"}
    commands = {
        OURS: [*stage.gpuwatch, "status"],
        "nvitop -1": [*stage.peer("nvitop"), "-1"],
        "gpustat": stage.peer("gpustat"),
        FLOOR: [sys.executable, "-c", "import pynvml; pynvml.nvmlInit()"],
    }
    failed: dict[str, str] = {}
    took: dict[str, list[float]] = {program: [] for program in commands}
    for program, command in commands.items():
        try:
            milliseconds(command, env)
        except (NotAnsweringError, OSError) as failure:
            failed[program] = str(failure)
    for _ in range(runs):
        for program in commands.keys() - failed.keys():
            took[program].append(milliseconds(commands[program], env))
    medians = {program: statistics.median(values) for program, values in took.items() if values}
    return [
        Figure(
            MEASUREMENT,
            program,
            medians.get(program),
            "ms",
            target=round(medians["nvitop -1"]) if program == OURS and "nvitop -1" in medians else None,
            note=failed.get(program, f"median of {runs}"),
        )
        for program in commands
    ]
