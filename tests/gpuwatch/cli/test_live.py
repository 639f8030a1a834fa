import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

PROGRAM = """
import itertools, sys, threading
from gpuwatch.cli.live import show_live
from gpuwatch_agent.model.errors import DriverNotLoadedError
from gpuwatch_agent.model.frame import Frame

def frames():
    yield Frame(node="node07", taken_at=0.0, simulated=True, gpus=[])
    if sys.argv[1:] == ["fail"]:
        raise DriverNotLoadedError
    threading.Event().wait()

def draw(frame, terminal):
    return f"{frame.node} at {terminal.width}x{terminal.height}\\n"

try:
    code = show_live(frames(), draw)
except DriverNotLoadedError as error:
    print(error.message)
    code = 3
except KeyboardInterrupt:
    code = 130
sys.exit(code)
"""


class Live:
    """The live view on a pseudo-terminal of 90 by 20."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(90, 20)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        environ = {**os.environ, "TERM": "xterm"}
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            process_group=0,
            # Who starts the tests in the background may have them ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads here
        )
        self.seen = b""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, wanted: bytes) -> None:
        """Read on until that has come."""
        start = len(self.seen)
        while wanted not in self.seen[start:]:
            ready, _, _ = select.select([self.master], [], [], 20)
            assert ready, f"{wanted!r} did not come, only {self.seen[start:]!r}"
            self.seen += os.read(self.master, 4096)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def live() -> Iterator[Live]:
    """A live view that has painted its first frame."""
    view = Live()
    view.until(b"node07 at 90x20")
    yield view
    view.close()


@pytest.mark.parametrize(
    ("end", "code"),
    [("q", 0), ("\x1b", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["q", "escape", "interrupt", "terminate", "hang up"],
)
def test_it_ends_and_leaves_the_terminal_as_it_was(live: Live, end: str | signal.Signals, code: int) -> None:
    """However it ends: the cursor is back, the screen is the old one, keys echo again."""
    assert b"\x1b[?1049h" in live.seen
    if isinstance(end, signal.Signals):
        live.process.send_signal(end)
    else:
        os.write(live.master, end.encode())
    live.until(b"\x1b[?25h\x1b[?1049l")
    assert live.process.wait(20) == code
    assert termios.tcgetattr(live.slave)[3] == live.before[3]


def test_a_resize_repaints_at_the_new_size(live: Live) -> None:
    """No new frame is needed for that."""
    live.resize(70, 15)
    live.process.send_signal(signal.SIGWINCH)
    live.until(b"node07 at 70x15")


def test_suspended_and_brought_back(live: Live) -> None:
    """Ctrl-Z gives the shell its screen back; fg paints the table again."""
    live.process.send_signal(signal.SIGTSTP)
    live.until(b"\x1b[?1049l")
    os.waitpid(live.process.pid, os.WUNTRACED)
    live.process.send_signal(signal.SIGCONT)
    live.until(b"node07 at 90x20")


def test_other_keys_change_nothing(live: Live) -> None:
    """An arrow key starts with an escape and is not one."""
    os.write(live.master, b"\x1b[A")
    live.until(b"node07 at 90x20")
    assert live.process.poll() is None


def test_what_ends_the_frames_is_told_on_the_old_screen() -> None:
    """An error is shown after the terminal has been given back."""
    view = Live("fail")
    view.until(b"\x1b[?1049lThe NVIDIA driver is installed but not loaded.")
    assert view.process.wait(20) == 3
    view.close()
