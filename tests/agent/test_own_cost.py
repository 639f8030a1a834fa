import os
import time
from collections.abc import Callable
from pathlib import Path

from gpuwatch_agent.own_cost import OwnCost, Usage
from support.reading import SettableClock


def processes(folder: Path, pid: int, ticks: int, pss_kib: int) -> None:
    own = folder / str(pid)
    own.mkdir(exist_ok=True)
    (own / "stat").write_text(f"{pid} (py (thon)) S {' '.join(['0'] * 10)} {ticks} 0 0 0")
    (own / "smaps_rollup").write_text(f"Rss: 1 kB\nPss: {pss_kib} kB\n")


def asked(cost: OwnCost, pid: int, fits: Callable[[Usage], bool]) -> Usage:
    """Ask until the thread that looks has looked."""
    deadline = time.monotonic() + 10
    while not fits(usage := cost.usage(pid)):
        assert time.monotonic() < deadline, usage
    return usage


def test_processor_time_is_a_share_of_the_time_between_two_looks(tmp_path: Path) -> None:
    """Nothing at the first look; then ticks over seconds, of agent and sampler."""
    clock = SettableClock()
    cost = OwnCost(clock, tmp_path)
    processes(tmp_path, os.getpid(), 1000, 30_000)
    processes(tmp_path, 4711, 500, 20_000)
    first = asked(cost, 4711, lambda usage: usage.agent_memory_bytes is not None)
    assert (first.agent_cpu_pct, first.sampler_cpu_pct) == (None, None)
    assert (first.agent_memory_bytes, first.sampler_memory_bytes) == (30_000 * 1024, 20_000 * 1024)
    clock.now += 10
    processes(tmp_path, os.getpid(), 1000 + os.sysconf("SC_CLK_TCK"), 30_000)
    later = asked(cost, 4711, lambda usage: usage.agent_cpu_pct is not None)
    assert (later.agent_cpu_pct, later.sampler_cpu_pct) == (10.0, 0.0)
    cost.stop()


def test_a_process_that_nobody_may_look_at_holds_nobody_up(tmp_path: Path) -> None:
    """Reading about a sampler that hangs in the kernel blocks: whoever asks gets an answer, in the end "unknown"."""
    clock = SettableClock()
    cost = OwnCost(clock, tmp_path)
    processes(tmp_path, os.getpid(), 1000, 30_000)
    processes(tmp_path, 4711, 500, 20_000)
    asked(cost, 4711, lambda usage: usage.agent_memory_bytes is not None)
    (tmp_path / "4711" / "smaps_rollup").unlink()
    os.mkfifo(tmp_path / "4711" / "smaps_rollup")  # opening it blocks until somebody writes
    clock.now += 10
    assert cost.usage(4711).sampler_memory_bytes == 20_000 * 1024
    clock.now += 60
    assert cost.usage(4711) == Usage()
    descriptor = os.open(tmp_path / "4711" / "smaps_rollup", os.O_WRONLY)
    os.close(descriptor)
    cost.stop()
