"""Runs an agent on this machine for a while and reports what it cost; and says which fields of a frame are null and why."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

READY_WITHIN_S = 30


def main() -> int:
    """`run` or `absences`."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--seconds", type=float, required=True)
    run.add_argument("--interval", type=float, required=True)
    run.add_argument("--keep", type=Path, required=True, help="where snapshot and metrics are written")
    absences = commands.add_parser("absences")
    absences.add_argument("document", type=Path)
    options = parser.parse_args()
    if options.command == "absences":
        return show_absences(json.loads(options.document.read_text()))
    return run_agent(options.seconds, options.interval, options.keep)


def run_agent(seconds: float, interval: float, keep: Path) -> int:
    """An agent for so long, then its own account of itself."""
    command = [sys.executable, "-m", "gpuwatch", "agent", "--listen", "127.0.0.1:0", "--interval", str(interval)]
    agent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        first = agent.stderr.readline().strip() if agent.stderr is not None else ""
        if "listening on " not in first:
            print(f"the agent did not start: {first}")
            return 1
        url = first.rpartition(" ")[2]
        wait_until_ready(url)
        ticks = os.sysconf("SC_CLK_TCK")
        before, began = used_ticks(agent.pid), time.monotonic()
        time.sleep(seconds)
        spent = (used_ticks(agent.pid) - before) / ticks / (time.monotonic() - began)
        snapshot = fetch(f"{url}/v1/snapshot")
        name = f"agent_{interval:g}s"
        (keep / f"{name}_snapshot.json").write_bytes(snapshot)
        (keep / f"{name}_metrics.txt").write_bytes(fetch(f"{url}/metrics"))
        (keep / f"{name}_topology.json").write_bytes(fetch(f"{url}/v1/topology"))
        report(json.loads(snapshot), spent)
    finally:
        agent.terminate()
        try:
            agent.wait(timeout=10)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
    print(f"ended with {agent.returncode}")
    return 0


def wait_until_ready(url: str) -> None:
    """Until the first frame is there."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fetch(f"{url}/readyz")
            return
        time.sleep(0.2)
    print(f"no frame within {READY_WITHIN_S} s")


def fetch(url: str) -> bytes:
    """The body of an answer; a refusal is an OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address on loopback that the agent printed
        body: bytes = answer.read()
    return body


def used_ticks(pid: int) -> int:
    """Processor time of a process and of its children that live, as the kernel counts it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for one in (pid, *map(int, children)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def report(frame: dict[str, Any], spent: float) -> None:
    """What the agent cost, and each collector."""
    cost = frame["agent"]
    mib = {name: (cost[name] or 0) / 2**20 for name in ("memory_bytes", "sampler_memory_bytes")}
    rows = Counter(f"{gpu['name']} ({gpu['state']})" for gpu in frame["gpus"])
    print(f"GPUs: {', '.join(f'{count} × {row}' for row, count in rows.items()) or frame['trouble']}")
    print(f"interval {cost['interval_s']} s, {cost['samples']} samples, {cost['sample_ms']} ms processor time the last")
    print(f"agent and sampler together: {spent * 100:.2f} % of one core by /proc over the whole run")
    print(f"by its own account: agent {cost['cpu_pct']} %, sampler {cost['sampler_cpu_pct']} %")
    print(f"memory: agent {mib['memory_bytes']:.1f} MiB, sampler {mib['sampler_memory_bytes']:.1f} MiB")
    print(f"missed deadlines {cost['missed_deadlines']}, sampler restarts {cost['sampler_restarts']}\n")
    print(
        f"{'collector':<18}{'tier':<8}{'runs':>7}{'failed':>8}{'missed':>8}{'last ms':>10}{'mean ms':>10}  last error"
    )
    for one in cost["collectors"]:
        times = "".join(f"{'–' if one[name] is None else one[name]:>10}" for name in ("last_ms", "mean_ms"))
        counts = f"{one['runs']:>7}{one['failures']:>8}{one['missed_deadlines']:>8}"
        print(f"{one['name']:<18}{one['tier']:<8}{counts}{times}  {one['last_error'] or ''}")


def show_absences(frame: dict[str, Any]) -> int:
    """Each null field with its reason; how many GPUs say the same where there are several."""
    if frame["trouble"]:
        print(f"trouble: {frame['trouble']}")
    reasons: Counter[tuple[str, str]] = Counter()
    for gpu in frame["gpus"]:
        absent = gpu["absent"]
        for path in [*null_paths(gpu), *(path for path in absent if path not in null_paths(gpu))]:
            reasons[path, absent.get(path) or "no reason given"] += 1
    print(f"{len(frame['gpus'])} GPUs")
    for (path, reason), count in sorted(reasons.items()):
        print(f"{path:<32} {reason:<18} on {count}")
    return 0


def null_paths(gpu: dict[str, Any]) -> list[str]:
    """Fields that are null, one level deep."""
    found = [name for name, value in gpu.items() if value is None and name != "problem"]
    for name, value in gpu.items():
        if isinstance(value, dict) and name not in {"absent", "throttle_seconds"}:
            found += [f"{name}.{part}" for part, inner in value.items() if inner is None]
    return found


if __name__ == "__main__":
    sys.exit(main())
