"""The real program on a pseudo-terminal: what it writes, byte by byte, and how it leaves."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 40
_FOREIGN = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "SSH_CONNECTION", "SSH_TTY", "LC_CTYPE", "COLORTERM")


class DashboardTerminal:
    """Started by `with`; ended at its end, whatever happened."""

    def __init__(
        self, arguments: Sequence[str], home: Path, environ: Mapping[str, str], size: tuple[int, int] = (100, 30)
    ) -> None:
        self._arguments = arguments
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "agent"), str(_ROOT / "exporters")])
        plain = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": str(home), "PYTHONPATH": path}
        self._environ = {**inherited, **plain, "XDG_CONFIG_HOME": str(home), **environ}
        self._size = size
        self.seen = b""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        self.resize(*self._size)
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environ,
            start_new_session=True,
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size now."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def until(self, wanted: bytes) -> None:
        """Read on until that has come."""
        start = len(self.seen)
        while wanted not in self.seen[start:]:
            assert self._read(), f"{wanted!r} did not come, only {self.seen[start:][-600:]!r}"

    def leave(self) -> int:
        """Read to the end, and give the exit code."""
        while self._read():
            pass
        return self._process.wait(_PATIENCE_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], _PATIENCE_S)
        if not ready:
            return False
        try:
            more = os.read(self._master, 65536)
        except OSError:
            return False  # the other end is closed
        self.seen += more
        return bool(more)
