"""The real program in a real terminal: keys, pictures, and nothing left behind however it ends."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.terminal import OpenTerminal, Terminal, terminals

pytestmark = [
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: `apt-get install tmux`"),
    pytest.mark.timeout(120),
]
_AS_BEFORE = {
    "alternate_on": "0",
    "cursor_flag": "1",
    "mouse_any_flag": "0",
    "keypad_cursor_flag": "0",
    "wrap_flag": "1",
}


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[OpenTerminal]:
    with terminals(tmp_path) as opener:
        yield opener


def _with_dashboard(open_terminal: OpenTerminal, spec: str, size: tuple[int, int] = (120, 40)) -> Terminal:
    terminal = open_terminal(size)
    terminal.gpuwatch("--sim", spec)
    terminal.wait_for("SIMULATED", "1 Over")
    return terminal


def test_it_opens_answers_keys_and_leaves_the_terminal_as_it_was(open_terminal: OpenTerminal) -> None:
    """Every view, pause, help; then q, the shell's prompt, and no process."""
    terminal = _with_dashboard(open_terminal, "dgx-h100-8")
    terminal.wait_for("All 8 GPUs are well", "processes (24)")
    running = terminal.processes()
    assert len(running) >= 2
    terminal.press("2")
    terminal.wait_for("UUID GPU-", "power limit")
    terminal.press("4")
    terminal.wait_for("Its ranks keep step")
    terminal.press("6")
    terminal.wait_for("Nothing is wrong")
    terminal.press("1", "p")
    terminal.wait_for("PAUSED", "ago")
    terminal.press("p")
    terminal.wait_for("processes (24)", without=["PAUSED"])
    terminal.press("?")
    terminal.wait_for("Everywhere", "pause, or go on")
    terminal.press("Escape")
    terminal.wait_for("processes (24)", without=["Everywhere"])
    terminal.press("q")
    terminal.wait_for("ended with 0", without=["SIMULATED"])
    terminal.wait_until_gone(list(running))
    assert terminal.modes() == _AS_BEFORE


def test_a_resized_window_is_filled_anew(open_terminal: OpenTerminal) -> None:
    """Down to 40×10 and up again, with the last size's picture in the end."""
    terminal = _with_dashboard(open_terminal, "dgx-h100-8+hot@5")
    terminal.wait_for("processes (24)")
    for size in ((80, 24), (40, 10), (200, 50), (40, 10)):
        terminal.resize(*size)
    terminal.wait_for("q quit", "GPU 5", without=["processes"])
    terminal.resize(120, 40)
    seen = terminal.wait_for("processes (24)", "8 Nodes")
    assert all(f"TP{rank} serve" in seen for rank in range(8))


def test_keys_answer_while_a_driver_call_hangs(open_terminal: OpenTerminal) -> None:
    """The GPU that hangs turns stale; views change, and q quits."""
    terminal = _with_dashboard(open_terminal, "dgx-h100-8+hang@2")
    running = terminal.processes()
    terminal.wait_for("◌")
    for key, told in (("6", "now, "), ("4", "rank"), ("2", "power limit"), ("1", "processes (")):
        terminal.press(key)
        terminal.wait_for(told)
    terminal.press("q")
    terminal.wait_for("ended with 0")
    terminal.wait_until_gone(list(running))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_restores_the_terminal(open_terminal: OpenTerminal, number: signal.Signals) -> None:
    """No sampler is left, and the shell can be worked in."""
    terminal = _with_dashboard(open_terminal, "l4")
    terminal.wait_for("All is well")
    running = terminal.processes()
    os.kill(terminal.dashboard(), number)
    terminal.wait_for("ended with")
    terminal.wait_until_gone(list(running))
    assert terminal.modes() == _AS_BEFORE


def test_killed_it_leaves_no_sampler(open_terminal: OpenTerminal) -> None:
    """Nobody can restore a terminal after SIGKILL, but the sampler sees that its reader is gone."""
    terminal = _with_dashboard(open_terminal, "l4")
    terminal.wait_for("All is well")
    running = terminal.processes()
    os.kill(terminal.dashboard(), signal.SIGKILL)
    terminal.wait_until_gone(list(running))


@pytest.mark.parametrize("spec", ["l4", "dgx-h100-8+hang@2"])
def test_a_closed_terminal_leaves_no_process(open_terminal: OpenTerminal, spec: str) -> None:
    """The window is closed, as SSH does when the line breaks; a call that hangs keeps nothing alive."""
    terminal = _with_dashboard(open_terminal, spec)
    running = terminal.processes()
    assert len(running) >= 2
    terminal.tmux("kill-session")
    terminal.wait_until_gone(list(running))


def test_without_colours_and_utf8_it_is_plain_ascii(open_terminal: OpenTerminal) -> None:
    """A C locale and NO_COLOR: nothing on the screen that such a terminal can't show, in views and in dialogs."""
    terminal = open_terminal((100, 30), {"NO_COLOR": "1"})
    terminal.tmux("send-keys", "-l", "export LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0")
    terminal.press("Enter")
    terminal.gpuwatch("--sim", "dgx-h100-8+hot@5")
    seen = [terminal.wait_for("SIMULATED", "1 Over", "GPU 5")]
    # Views are drawn in ASCII from the start; of dialogs Textual draws the frames.
    terminal.press("?")
    seen.append(terminal.wait_for("Everywhere"))
    terminal.press("Escape")
    terminal.wait_for("processes (24)", without=["Everywhere"])
    for screen in seen:
        # What a C locale can't encode Python writes as an escape.
        assert "\\x" not in screen
        assert "\\u" not in screen, screen
        assert screen.isascii(), {letter for letter in screen if not letter.isascii()}
    terminal.press("q")
    terminal.wait_for("ended with 0")
