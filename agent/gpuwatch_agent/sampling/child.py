"""One sampler process as its parent sees it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import msgspec

from gpuwatch_agent.collectors.registry import COLLECTOR_NAMES
from gpuwatch_agent.config import Config
from gpuwatch_agent.sampling.breadcrumbs import Blame, Breadcrumbs
from gpuwatch_agent.sampling.wire import LENGTH_BYTES, Message, Orders, decode

_MOST_BYTES = 64 << 20
_STDERR_KEPT = 4096
# Killing a process in the middle of profiling has frozen boards: it is asked to leave, and given time.
_ASK_S = 5.0
_TERM_S = 5.0
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS})


class SamplerChild:
    """Started by `start`, listened to by `messages`, sent away by `retire`."""

    def __init__(self, process: asyncio.subprocess.Process, breadcrumbs: Breadcrumbs) -> None:
        self._process = process
        self._breadcrumbs = breadcrumbs
        self.last_words = b""
        self._listening = asyncio.create_task(self._keep_stderr())

    @classmethod
    async def start(cls, config: Config, quarantine: Sequence[Blame]) -> "SamplerChild":
        """A new sampler in a process group of its own, so that Ctrl-C reaches only us."""
        fd = Breadcrumbs.create()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gpuwatch_agent.sampling.process",
                str(fd),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(fd,),
                start_new_session=True,
                limit=_MOST_BYTES,
            )
            child = cls(process, Breadcrumbs(fd, COLLECTOR_NAMES))
        finally:
            os.close(fd)
        assert process.stdin is not None  # noqa: S101  # it was asked for
        process.stdin.write(msgspec.json.encode(Orders(config, list(quarantine))) + b"\n")
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def messages(self) -> AsyncIterator[Message]:
        """All it says until it ends."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  # it was asked for
        while True:
            try:
                length = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "big")
                if length > _MOST_BYTES:
                    return
                body = await stream.readexactly(length)
                message = decode(body)
            except (asyncio.IncompleteReadError, msgspec.MsgspecError):
                return
            yield message

    async def end(self) -> str | None:
        """Wait until it has ended; gives the signal's name where it crashed."""
        code = await self._process.wait()
        return signal.Signals(-code).name if code < 0 and -code in _CRASHES else None

    def blames(self) -> list[Blame]:
        """What it was reading at its last sign of life."""
        return self._breadcrumbs.blames()

    def release(self) -> None:
        """Ask it to leave; it goes when the call it is in has returned, or soon after without."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # One that was stopped by a signal could not even hear that.
        self._send(signal.SIGCONT)

    async def retire(self, ask_s: float | None = None, term_s: float | None = None) -> bool:
        """Send it away, ever less politely; false where even SIGKILL did not end it (it hangs in the kernel)."""
        ask_s = _ASK_S if ask_s is None else ask_s
        term_s = _TERM_S if term_s is None else term_s
        self.release()
        for wait_s, harder in ((ask_s, signal.SIGTERM), (term_s, signal.SIGKILL), (term_s, None)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), wait_s)
                break
            if harder is not None:
                self._send(harder)
        self._listening.cancel()
        return self._process.returncode is not None

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _keep_stderr(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101  # it was asked for
        while chunk := await stream.read(_STDERR_KEPT):
            self.last_words = (self.last_words + chunk)[-_STDERR_KEPT:]
