"""A real `gpuwatch agent` in a process of its own, on the fake driver, talked to over HTTP."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import msgspec

from gpuwatch_agent.model.frame import Frame


class RunningAgent:
    """`frame_where` waits on the stream, so that no test has to guess how long something takes."""

    def __init__(self, env: Mapping[str, str], *arguments: str, log: Path) -> None:
        self.log = log
        self._stderr = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpuwatch", "agent", "--listen", "127.0.0.1:0", *arguments],
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline().decode()
        assert "listening on " in first, first + self.process.stderr.read().decode()
        self.url = first.split("listening on ")[1].strip()
        self.client = httpx.Client(base_url=self.url, timeout=10)

    def frame_where(self, fits: Callable[[Frame], bool], within_s: float = 25.0) -> Frame:
        """The first frame that fits; fails with the last one seen."""
        deadline = time.monotonic() + within_s
        last: Frame | None = None
        with self.client.stream("GET", "/v1/stream", timeout=within_s) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    last = msgspec.json.decode(line[6:], type=Frame)
                    if fits(last):
                        return last
                if time.monotonic() > deadline:
                    break
        raise AssertionError(f"no such frame within {within_s} s; the last was {last}")

    def samplers(self) -> list[int]:
        """The PIDs of the agent's children."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; gives the exit status and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        return status, time.monotonic() - began

    def close(self) -> None:
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        if self.process.stderr is not None:
            self._stderr.write(self.process.stderr.read())
            self.process.stderr.close()
        self._stderr.close()


def all_fresh(*except_gpus: int) -> Callable[[Frame], bool]:
    """All GPUs but these are there and ok."""

    def fits(frame: Frame) -> bool:
        return bool(frame.gpus) and all(gpu.state == "ok" for gpu in frame.gpus if gpu.index not in except_gpus)

    return fits


def state_of(gpu: int, state: str, *, others_fresh: bool = True) -> Callable[[Frame], bool]:
    """One GPU is in this state, and the others are read on."""
    fresh = all_fresh(gpu)

    def fits(frame: Frame) -> bool:
        row = next((row for row in frame.gpus if row.index == gpu), None)
        return row is not None and row.state == state and (not others_fresh or fresh(frame))

    return fits


@contextlib.contextmanager
def running_agent(env: Mapping[str, str], *arguments: str, log: Path) -> Iterator[RunningAgent]:
    """An agent for the length of a `with`."""
    agent = RunningAgent(env, *arguments, log=log)
    try:
        yield agent
    finally:
        agent.close()
