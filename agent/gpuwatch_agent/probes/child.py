"""One program with all it starts: its events as they come, a deadline, and nothing left of it afterwards."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from gpuwatch_agent.probes.leftovers import (
    MARK,
    SCRATCH,
    processes_of,
    remove_forgotten_scratch,
    remove_shared_memory,
    shared_memory_of,
)

_LAUNCH = Path(__file__).with_name("launch.py")
_KEPT_BYTES = 64 << 10
_LONGEST_LINE = 1 << 20
_GRACE_S = 2.0
_GIVE_UP_S = 8.0
_LOOK_AGAIN_S = 0.05
_LOOK_AT_MEMORY_S = 2.0
_TICK_S = 0.2

Event = Mapping[str, Any]


class Patience(Struct, frozen=True, kw_only=True):
    """How long to wait for what."""

    deadline_s: float
    start_s: float = 90.0
    """For the first word: torch alone can take a minute to load from a cold disk."""
    silence_s: float = 30.0
    """Between words: each size of a sweep is told, and none takes nearly as long."""


class ChildEnd(Struct, frozen=True, kw_only=True):
    """How it ended; a program that was stopped has no exit status of its own."""

    how: Literal["exited", "deadline", "silent"]
    exit_status: int | None
    stderr: str
    survivors: list[int]
    """Processes that could not even be killed: they hang in the driver."""


class _Exit:
    """Whether a process has ended; asyncio itself would wait for whoever still holds its pipes, too."""

    def __init__(self, pid: int) -> None:
        self.over = asyncio.Event()
        self._descriptor: int | None = None
        self._looking: asyncio.Task[None] | None = None
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self.over.set()
        except OSError:
            # Kernels before 5.3 have no such descriptors.
            self._looking = asyncio.create_task(self._look(Path(f"/proc/{pid}/stat")))
        else:
            asyncio.get_running_loop().add_reader(self._descriptor, self._note)

    def _note(self) -> None:
        self.over.set()
        self.close()

    async def _look(self, stat: Path) -> None:
        while not _is_over(stat):  # noqa: ASYNC110  # what could be waited for is what is missing
            await asyncio.sleep(_LOOK_AGAIN_S)
        self.over.set()

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        if self._looking is not None:
            self._looking.cancel()

    async def within(self, seconds: float) -> bool:
        """Wait so long at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)
        return self.over.is_set()


def _is_over(stat: Path) -> bool:
    """Gone, or waiting to be reaped."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class _Running:
    """What is known of a program while it runs."""

    def __init__(self, process: asyncio.subprocess.Process, run: str, on_event: Callable[[Event], None]) -> None:
        self.process = process
        self._run = run
        self._looked_at = 0.0
        self.held: set[str] = set()
        """Names in shared memory that were seen in the ranks' hands."""
        self.exit = _Exit(process.pid)
        self.spoken = False
        self.heard_at = asyncio.get_running_loop().time()
        self._on_event = on_event
        self._kept = bytearray()

    @property
    def stderr(self) -> str:
        return self._kept.decode(errors="replace")

    async def listen(self) -> None:
        """Events until nobody can write any more; what is none is kept with the complaints."""
        stream = _piped(self.process.stdout)
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # a line without end, which is none of ours
            if not line:
                return
            event = _event(line)
            if event is None:
                self._keep(line)
                continue
            self.spoken = True
            self.heard_at = asyncio.get_running_loop().time()
            if self.heard_at - self._looked_at >= _LOOK_AT_MEMORY_S:
                self.note_shared_memory()
            self._on_event(event)

    def note_shared_memory(self) -> None:
        """See what the ranks hold now: a rank that dies can't tell any more."""
        self._looked_at = asyncio.get_running_loop().time()
        self.held |= shared_memory_of(self._run)

    async def listen_to_complaints(self) -> None:
        stream = _piped(self.process.stderr)
        while part := await stream.read(8192):
            self._keep(part)

    def _keep(self, part: bytes) -> None:
        self._kept += part
        del self._kept[:-_KEPT_BYTES]


def _piped(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise RuntimeError("The child was started without pipes.")
    return stream


def _event(line: bytes) -> Event | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("event"), str) else None


async def run_child(
    command: Sequence[str],
    *,
    run: str,
    environment: Mapping[str, str],
    patience: Patience,
    on_event: Callable[[Event], None],
) -> ChildEnd:
    """Run it to its end, or end it; whichever way this is left, what was started is gone before."""
    remove_forgotten_scratch(time.time())
    with tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as scratch:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-S", str(_LAUNCH), str(os.getpid()), *command],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment, MARK: run, "TMPDIR": scratch},
            cwd=scratch,  # an empty folder: nothing lying about is imported instead of torch
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        running = _Running(process, run, on_event)
        listening = [asyncio.create_task(running.listen()), asyncio.create_task(running.listen_to_complaints())]
        how: Literal["exited", "deadline", "silent"] = "exited"
        survivors: set[int] = set()
        try:
            how = await _until_over(running, patience)
        finally:
            running.note_shared_memory()
            survivors = await _carried_through(running, run)
            await _heard_out(listening)
            running.exit.close()
            remove_shared_memory(running.held)
        return ChildEnd(
            how=how,
            exit_status=process.returncode if how == "exited" else None,
            stderr=running.stderr,
            survivors=sorted(survivors),
        )


async def _until_over(running: _Running, patience: Patience) -> Literal["exited", "deadline", "silent"]:
    loop = asyncio.get_running_loop()
    over_at = loop.time() + patience.deadline_s
    while not await running.exit.within(_TICK_S):
        now = loop.time()
        if now >= over_at:
            return "deadline"
        if now >= running.heard_at + (patience.silence_s if running.spoken else patience.start_s):
            return "silent"
    return "exited"


async def _heard_out(listening: Sequence[asyncio.Task[None]]) -> None:
    """The last lines; a pipe that an unkillable process holds open is not waited for."""
    _, late = await asyncio.wait(listening, timeout=1)
    for task in late:
        task.cancel()


async def _carried_through(running: _Running, run: str) -> set[int]:
    """Clear away, whatever comes: who cancels again gets it done without further grace."""
    hurry = asyncio.Event()
    clearing = asyncio.create_task(_clear(running, run, hurry))
    while not clearing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(clearing)
            break
        hurry.set()
    return clearing.result()


async def _clear(running: _Running, run: str, hurry: asyncio.Event) -> set[int]:
    """Ask, then kill: ranks first, so that their parent reaps them; gives what could not be killed."""
    loop = asyncio.get_running_loop()
    leader, ended = running.process.pid, running.exit
    if not ended.over.is_set():
        _signal_group(leader, signal.SIGTERM)
        await _ended(ended, _GRACE_S, hurry)
    give_up_at = loop.time() + _GIVE_UP_S
    while (left := processes_of(run)) and loop.time() < give_up_at:
        ranks = left - {leader}
        for pid in ranks or left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if ranks:
            await _ended(ended, 1.0, hurry)
        if not ended.over.is_set():
            _signal_group(leader, signal.SIGKILL)
        await asyncio.sleep(_LOOK_AGAIN_S)
    if not left:
        # Nothing lives any more, so this can only be the reaping.
        await running.process.wait()
    return left


async def _ended(ended: _Exit, most_s: float, hurry: asyncio.Event) -> None:
    """Until the program has ended, time is up, or somebody is in a hurry."""
    waiting = [asyncio.create_task(one.wait()) for one in (ended.over, hurry)]
    await asyncio.wait(waiting, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


def _signal_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
