"""A real terminal (tmux) with a shell in it: what is typed, what is seen, and what is left behind."""

import contextlib
import os
import select
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 30.0
_MARK = "TERMINAL_UNDER_TEST"


class Terminal:
    """`wait_for` looks whenever something was written, so that no test has to guess how long something takes."""

    def __init__(self, folder: Path, size: tuple[int, int], env: Mapping[str, str]) -> None:
        self._socket = folder / "tmux"
        self._mark = uuid.uuid4().hex
        self.written = 0
        """How many bytes the programs in it have written so far, as far as `wait_for` and `listen` have taken them in."""
        pipe = folder / "written"
        os.mkfifo(pipe)
        self._written = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        width, height = size
        environ = {**env, _MARK: self._mark, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        environ.pop("TMUX", None)
        command = ["new-session", "-d", "-x", str(width), "-y", str(height), "PS1='ready> ' exec sh -i"]
        subprocess.run(["tmux", "-S", self._socket, "-f", "/dev/null", *command], env=environ, check=True, timeout=20)
        self.tmux("set-option", "-g", "status", "off")
        self.tmux("resize-window", "-x", str(width), "-y", str(height))
        self.tmux("pipe-pane", f"exec cat > {shlex.quote(str(pipe))}")
        self.wait_for("ready>")

    def tmux(self, *arguments: str) -> str:
        """What tmux answers."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout

    def gpuwatch(self, *arguments: str) -> None:
        """Type the command; when it ends, the shell says how."""
        self.run(sys.executable, "-m", "gpuwatch", *arguments)

    def run(self, *command: str) -> None:
        """Type any command."""
        self.tmux("send-keys", "-l", f"{shlex.join(command)}; echo ended with $?")
        self.press("Enter")

    def running(self) -> int:
        """The PID of the command that was typed."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def press(self, *keys: str) -> None:
        """Keys in tmux's words, as Enter, Escape or F5."""
        self.tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Another size, as if somebody pulled at the window's corner."""
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """What is seen now."""
        return self.tmux("capture-pane", "-p")

    def modes(self) -> dict[str, str]:
        """What programs leave behind when they end badly."""
        names = ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_cursor_flag", "wrap_flag")
        told = self.tmux("display-message", "-p", " ".join(f"#{{{name}}}" for name in names)).split()
        return dict(zip(names, told, strict=True))

    def wait_for(self, *words: str, without: Sequence[str] = (), within_s: float = PATIENCE_S) -> str:
        """The screen, once it shows all these words and none of those."""
        deadline = time.monotonic() + within_s
        while True:
            seen = self.screen()
            if all(word in seen for word in words) and not any(word in seen for word in without):
                return seen
            left = deadline - time.monotonic()
            assert left > 0, f"{words} without {tuple(without)} was not seen within {within_s} s, but\n{seen}"
            self.listen(min(left, 0.5))

    def listen(self, most_s: float) -> None:
        """Returns when something was written, at the latest after that time."""
        if select.select([self._written], [], [], most_s)[0]:
            with contextlib.suppress(BlockingIOError):
                self.written += len(os.read(self._written, 1 << 20))

    def processes(self) -> dict[int, str]:
        """Command lines of what gpuwatch runs in this terminal, by PID: the dashboard and its sampler."""
        found: dict[int, str] = {}
        wanted = f"{_MARK}={self._mark}".encode()
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if "gpuwatch" in command and "sh -i" not in command:
                        found[int(folder.name)] = command.strip()
        return found

    def dashboard(self) -> int:
        """The PID of the dashboard itself, the parent of the others."""
        pids = self.processes()
        return next(pid for pid in pids if _parent(pid) not in pids)

    def wait_until_gone(self, pids: Sequence[int], within_s: float = PATIENCE_S) -> None:
        """Returns once none of these processes lives."""
        deadline = time.monotonic() + within_s
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                try:
                    ended = select.select([handle], [], [], max(deadline - time.monotonic(), 0))[0]
                finally:
                    os.close(handle)
                assert ended, f"{pid} lives on: {self.processes().get(pid)}"

    def close(self) -> None:
        """The window is closed: what runs in it is hung up."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.tmux("kill-server")
        os.close(self._written)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


OpenTerminal = Callable[..., Terminal]


@contextlib.contextmanager
def terminals(folder: Path) -> Iterator[OpenTerminal]:
    """Opens terminals that are closed, with all that runs in them, at the end."""
    opened: list[Terminal] = []

    def open_one(size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None) -> Terminal:
        home = folder / f"home{len(opened)}"
        home.mkdir()
        base = {name: value for name, value in os.environ.items() if not name.startswith(("GPUWATCH_", "XDG_"))}
        terminal = Terminal(home, size, {**base, "HOME": str(home), **(env or {})})
        opened.append(terminal)
        return terminal

    try:
        yield open_one
    finally:
        for terminal in opened:
            left = terminal.processes()
            terminal.close()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
