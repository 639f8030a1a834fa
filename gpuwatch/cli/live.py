"""A table that stays on the screen and is repainted in place: no flicker, and the terminal as it was afterwards."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Self

from gpuwatch.cli.terminal import Terminal, look
from gpuwatch_agent.model.frame import Frame

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_QUIT_KEYS = frozenset(b"qQ\x1b")

Draw = Callable[[Frame, Terminal], str]


def show_live(frames: Iterator[Frame], draw: Draw) -> int:
    """Paint every frame until q, Ctrl-C or SIGTERM; a frame that takes long never delays a key."""
    feed = _Feed(frames)
    with _Screen() as screen:
        feed.start()
        latest: Frame | None = None
        while True:
            woken = screen.wait(feed.reader)
            if woken.quit:
                return 0
            latest = feed.take(latest)
            if latest is not None:
                terminal = look()
                screen.paint(draw(latest, terminal), terminal)


class _Feed:
    """Waits for frames on a thread of its own and wakes the painter through a pipe."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._newest: Frame | None = None
        self._failure: BaseException | None = None
        self.reader, self._writer = os.pipe()

    def start(self) -> None:
        threading.Thread(target=self._run, name="frames", daemon=True).start()

    def _run(self) -> None:
        try:
            for frame in self._frames:
                self._newest = frame
                os.write(self._writer, b".")
        except BaseException as error:  # noqa: BLE001 - raised again by `take`, where somebody can act on it
            self._failure = error
        os.write(self._writer, b".")

    def take(self, default: Frame | None) -> Frame | None:
        """The newest frame, or what ended the feed, raised here."""
        if self._failure is not None:
            raise self._failure
        return self._newest or default


class _Woken:
    """Why the painter was woken."""

    def __init__(self, *, quit: bool) -> None:  # noqa: A002 - it says what the key meant
        self.quit = quit


class _Screen:
    """The alternate screen, keys without Enter, and signals as bytes in a pipe."""

    def __init__(self) -> None:
        self._signals, self._signal_writer = os.pipe()
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._attributes: list[object] | None = None
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._end)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._wake)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        self._take_over()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned
        self._give_back()

    def _take_over(self) -> None:
        if self._keys is not None:
            import termios
            import tty

            self._attributes = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        sys.stdout.write(_ENTER)
        sys.stdout.flush()

    def _give_back(self) -> None:
        if self._keys is not None and self._attributes is not None:
            import termios

            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._attributes)  # type: ignore[arg-type]  # as tcgetattr gave it
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()

    def _wake(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._signal_writer, b".")

    def _end(self, number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, and `fg` brings the table back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take_over()
        os.write(self._signal_writer, b".")

    def wait(self, feed: int) -> _Woken:
        """Sleep until there is a frame, a key or a signal."""
        watched = [feed, self._signals, *([] if self._keys is None else [self._keys])]
        ready, _, _ = select.select(watched, [], [])
        if self._keys in ready:
            typed = os.read(ready[ready.index(self._keys)], 64)
            if not typed or (len(typed) == 1 and typed[0] in _QUIT_KEYS):
                return _Woken(quit=True)
        for pipe in (feed, self._signals):
            if pipe in ready:
                os.read(pipe, 4096)
        return _Woken(quit=False)

    def paint(self, text: str, terminal: Terminal) -> None:
        """Over what is there, line by line, each cleared to its end."""
        lines = text.splitlines()[: max(terminal.height, 1)]
        sys.stdout.write("\x1b[?2026h\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J\x1b[?2026l")
        sys.stdout.flush()
