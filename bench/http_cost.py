"""How fast the agent answers: on one core, with the asker on another."""

import os
import time

from load import latencies_ms, percentile, requests_per_s
from results import OURS, Figure
from stage import Stage, agent

CONNECTIONS = 8
PER_SECOND = 50
PATH = "/v1/snapshot"


def measure(stage: Stage, seconds: float) -> list[Figure]:
    """Throughput, and latency at a calm rate."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, set(cores[1:]))
    note = f"{CONNECTIONS} connections, agent on one core" if core is not None else "one core for both"
    try:
        with agent(stage, 1.0, core) as (_, port):
            time.sleep(3)
            rate = requests_per_s(port, PATH, CONNECTIONS, seconds / 2)
            waited = latencies_ms(port, PATH, PER_SECOND, seconds)
    finally:
        os.sched_setaffinity(0, set(cores))
    at_rate = f"{PATH} at {PER_SECOND}/s, {len(waited)} requests"
    return [
        Figure(PATH, OURS, rate, "requests/s", target=1500, more_is_better=True, note=note),
        Figure("answer, median", OURS, percentile(waited, 0.5), "ms", note=at_rate),
        Figure("answer, 99th percentile", OURS, percentile(waited, 0.99), "ms", target=5, note=at_rate),
    ]
