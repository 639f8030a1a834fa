"""A `Supervisor` in the test's own loop, over real sampler processes on the fake driver."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from fake_nvml.fixtures import FakeNode
from gpuwatch_agent.config import Config, SamplingSection
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.sampling import child, supervisor
from gpuwatch_agent.sampling.supervisor import Supervisor
from gpuwatch_agent.sampling.wire import Message, Sampled

QUICK = SamplingSection(interval_s=0.1, medium_s=0.2, slow_s=0.5, deadline_s=0.2, stale_after_s=0.6)
_PATIENCE_S = 25.0


class SupervisedSampler:
    """Keeps what was heard; `frame_where` waits for a frame, so that no test has to guess how long something takes."""

    def __init__(self, config: Config) -> None:
        self.messages: list[Message] = []
        self.frames: list[Frame] = []
        self._news = asyncio.Event()
        self.supervisor = Supervisor(config, self._hear, time.monotonic)

    def _hear(self, message: Message) -> None:
        self.messages.append(message)
        if isinstance(message, Sampled):
            self.frames.append(message.frame)
        self._news.set()

    async def until(self, holds: Callable[[], bool], within_s: float = _PATIENCE_S) -> None:
        """Wait until something holds; looks again with each message, and now and then without."""
        deadline = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s; trouble: {self.supervisor.trouble}")
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 0.1)

    async def frame_where(self, fits: Callable[[Frame], bool]) -> Frame:
        """The newest frame, when it fits."""
        await self.until(lambda: bool(self.frames) and fits(self.frames[-1]))
        return self.frames[-1]

    async def pid_in_charge(self, other_than: int | None = None) -> int:
        await self.until(lambda: self.supervisor.pid not in {None, other_than})
        assert self.supervisor.pid is not None
        return self.supervisor.pid

    async def all_ended(self, within_s: float) -> None:
        """Every sampler is gone, and the loop has heard it: one that closes before that leaves transports to nobody."""
        await self.until(lambda: samplers_alive() == set(), within_s)
        await asyncio.gather(*(child.end() for child in self.supervisor._children))

    async def ended(self, pid: int) -> None:
        await self.until(lambda: pid not in samplers_alive())


@contextlib.asynccontextmanager
async def supervised(sampling: SamplingSection = QUICK) -> AsyncIterator[SupervisedSampler]:
    """A supervisor at work for the length of a `with`, stopped after it."""
    config = Config()
    config = msgspec.structs.replace(
        config, sampling=sampling, hardware=msgspec.structs.replace(config.hardware, kmsg="")
    )
    one = SupervisedSampler(config)
    running = asyncio.create_task(one.supervisor.run())
    try:
        yield one
    finally:
        await one.supervisor.stop()
        await _all_heard_of(one.supervisor)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _all_heard_of(supervisor: Supervisor) -> None:
    """On a busy machine `stop` does not wait for the last end: a loop that closes before leaves transports to nobody."""
    for one in list(supervisor._children):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one.end(), _PATIENCE_S)
        one._process._transport.close()  # type: ignore[attr-defined]  # asyncio's own, there since it has subprocesses
    await asyncio.sleep(0)


_others: set[int] = set()
"""Children of this process that were there before the test."""


@contextlib.contextmanager
def own_children() -> Iterator[None]:
    """Inside, `samplers_alive` knows only what was started here; what is left of it at the end is killed and reaped.

    A test that fails leaves samplers behind, and the next must neither count them nor share the processor with them.
    """
    _others.update(_children())
    try:
        yield
    finally:
        for pid in samplers_alive():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        _others.clear()


def samplers_alive() -> set[int]:
    """Samplers of this test that have not ended, zombies among them."""
    return _children() - _others


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return found


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # plain names do


def meet(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of this process meet the fake driver."""
    for name, value in node.env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


def hurry(monkeypatch: pytest.MonkeyPatch, patience: Mapping[str, object] | None = None) -> None:
    """The supervisor's patience cut from minutes to moments."""
    quick: dict[str, object] = {
        "_STUCK_S": 1.0,
        "_CANDIDATE_S": 6.0,
        "_BACKOFF_S": (0.05,),
        **(patience or {}),
    }
    for name, value in quick.items():
        monkeypatch.setattr(supervisor, name, value)
    monkeypatch.setattr(child, "_ASK_S", 0.5)
    monkeypatch.setattr(child, "_TERM_S", 0.5)
