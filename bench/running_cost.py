"""What a server costs while it runs: processor, memory, and one full sample."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable

from load import every_second, fetch
from processes import cpu_seconds, proportional_mib
from results import OURS, Figure
from stage import Stage, agent, nvitop_exporter

WARM_UP_S = 5.0


def cpu_pct(process: subprocess.Popen[bytes], seconds: float, meanwhile: Callable[[float], None] = time.sleep) -> float:
    """Share of one core, with all children."""
    cpu, wall = cpu_seconds(process.pid), time.monotonic()
    meanwhile(seconds)
    return 100 * (cpu_seconds(process.pid) - cpu) / (time.monotonic() - wall)


def scraping(port: int, path: str) -> Callable[[float], None]:
    """Fetch that path once a second."""
    return lambda seconds: every_second(lambda: fetch(port, path), seconds)


def sample_ms(port: int) -> float:
    """The median of what the agent says its samples cost, over ten seconds."""
    costs: list[float] = []

    def look() -> None:
        costs.append(float(json.loads(fetch(port, "/v1/snapshot"))["agent"]["sample_ms"]))

    every_second(look, 10)
    return statistics.median(costs)


def measure_ours(stage: Stage, seconds: float) -> list[Figure]:
    """The agent at both ends of its range."""
    note = f"agent and sampler, {seconds:g} s"
    with agent(stage, 1.0) as (process, port):
        time.sleep(WARM_UP_S)
        figures = [
            Figure("processor at 1 s", OURS, cpu_pct(process, seconds), "%", target=1, note=note),
            Figure(
                "processor at 1 s, read each second",
                OURS,
                cpu_pct(process, seconds, scraping(port, "/v1/snapshot")),
                "%",
                note="/v1/snapshot",
            ),
            Figure("memory", OURS, proportional_mib(process.pid), "MiB", target=80, note="agent and sampler, Pss"),
        ]
    with agent(stage, 1.0, fast_only=True) as (_, port):
        time.sleep(WARM_UP_S)
        cost = sample_ms(port)
        figures.append(Figure("full fast sample, processor", OURS, cost, "ms", target=3, note="8 GPUs, once a second"))
    with agent(stage, 0.1) as (process, _):
        time.sleep(WARM_UP_S)
        figures.append(Figure("processor at 0.1 s", OURS, cpu_pct(process, seconds), "%", target=6, note=note))
    return figures


def measure_peer(stage: Stage, seconds: float) -> list[Figure]:
    """nvitop-exporter, refreshed and scraped once a second."""
    with nvitop_exporter(stage) as (process, port):
        time.sleep(WARM_UP_S)
        share = cpu_pct(process, seconds, scraping(port, "/metrics"))
        return [
            Figure("processor at 1 s, read each second", "nvitop-exporter", share, "%", note="/metrics"),
            Figure("memory", "nvitop-exporter", proportional_mib(process.pid), "MiB", note="Pss"),
        ]
