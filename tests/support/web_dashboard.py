"""The real `gpuwatch web` on a free port of loopback."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from support.browser import family

_PATIENCE_S = 20.0
_WHERE = re.compile(rb"The dashboard is on (http://\S+) ")


class WebDashboard:
    """A server that has said where it listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process = process
        self.url = url

    def processes(self) -> list[psutil.Process]:
        """The server, and the dashboards it has started with their samplers."""
        return family(self._process.pid)

    def end(self, number: signal.Signals = signal.SIGINT) -> list[psutil.Process]:
        """Send the signal; gives what lives on all the same."""
        running = self.processes()
        self._process.send_signal(number)
        self._process.wait(_PATIENCE_S)
        return list(psutil.wait_procs(running, timeout=_PATIENCE_S)[1])


@contextlib.contextmanager
def web_dashboard(home: Path, *arguments: str) -> Iterator[WebDashboard]:
    """Started with these arguments after `web`'s own; killed at the end with all its children if it has not ended."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GPUWATCH_", "XDG_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuwatch", *arguments, "web", "--listen", "127.0.0.1:0"],
        env={**inherited, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        yield WebDashboard(process, _where(process))
    finally:
        for left in reversed(family(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(_PATIENCE_S)
        process.stderr.close()


def _where(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    told, deadline = b"", time.monotonic() + _PATIENCE_S
    while not (found := _WHERE.search(told)):
        left = deadline - time.monotonic()
        assert select.select([process.stderr], [], [], max(left, 0))[0], f"it never said where it listens: {told!r}"
        more = os.read(process.stderr.fileno(), 4096)
        assert more, f"it ended: {told!r}"
        told += more
    return found[1].decode()
