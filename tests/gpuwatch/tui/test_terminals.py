"""What is written to terminals that show less, and how the terminal is left when something goes wrong."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.dashboard_terminal import DashboardTerminal

_DASHBOARD = ["-m", "gpuwatch", "--sim", "dgx-h100-8+hot@5"]
_GRAPHICS = re.compile(rb"\x1b\[([0-9;:]*)m")
_FAILING = """
from gpuwatch.cli import main
from gpuwatch.tui.feeds.embedded import EmbeddedFeed

async def broken(self, *_):
    raise ZeroDivisionError("told by the test")

EmbeddedFeed.run = broken
raise SystemExit(main(["--sim", "l4"]))
"""


def walk_through(home: Path, environ: Mapping[str, str]) -> bytes:
    """Views, dialogs and the list of commands, then quit; everything that was written."""
    with DashboardTerminal(_DASHBOARD, home, environ) as terminal:
        terminal.until(b"GPU 5")
        for keys, seen in ((b"2", b"driver"), (b"1", b"memory"), (b"\x1bOQ", b"motion"), (b"q", b"memory")):
            terminal.press(keys)
            terminal.until(seen)
        terminal.press(b"\x10")
        terminal.until(b"Search")
        terminal.press(b"\x03")
        assert terminal.leave() == 0
        return terminal.seen


def colours(written: bytes) -> set[bytes]:
    """The codes among what was written that set a colour, the default one included."""
    codes = {code for found in _GRAPHICS.findall(written) for code in re.split(rb"[;:]", found)}
    return {code for code in codes if code.isdigit() and (30 <= int(code) <= 49 or 90 <= int(code) <= 107)}


def test_without_colours_no_colour_is_written(tmp_path: Path) -> None:
    """NO_COLOR is meant: not even the default colour is set; what is wrong has its sign."""
    written = walk_through(tmp_path, {"NO_COLOR": "1"})
    assert colours(written) == set()
    assert "▲".encode() in written


def test_colours_are_written_otherwise(tmp_path: Path) -> None:
    """The test above can fail."""
    assert colours(walk_through(tmp_path, {}))


@pytest.mark.parametrize("how", ["locale", "setting"])
def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path, how: str) -> None:
    """No byte beyond 127, dialogs, frames and the list of commands included."""
    environ = {"LC_ALL": "C"} if how == "locale" else {"GPUWATCH_DASHBOARD_ASCII": "always"}
    written = walk_through(tmp_path, environ)
    assert [byte for byte in written if byte > 127] == []


@pytest.mark.parametrize("term", ["screen", "linux"])
def test_sixteen_colours_are_enough(tmp_path: Path, term: str) -> None:
    """Where the terminal has no more, no more are asked for."""
    written = walk_through(tmp_path, {"TERM": term})
    assert colours(written)
    assert not colours(written) & {b"38", b"48"}


def test_a_fault_gives_the_terminal_back_and_says_one_sentence(tmp_path: Path) -> None:
    """No traceback over the screen: the alternate screen is left first, then a sentence and exit code 3."""
    with DashboardTerminal(["-c", _FAILING], tmp_path, {}) as terminal:
        code = terminal.leave()
        _, _, after = terminal.seen.rpartition(b"\x1b[?1049l")
    assert code == 3
    assert b"gpuwatch itself failed, which is a bug: ZeroDivisionError: told by the test." in after
    assert b"Traceback" not in terminal.seen


def test_whoever_mends_it_gets_the_traceback(tmp_path: Path) -> None:
    """GPUWATCH_DEBUG=1 shows where it happened, on the terminal that is one again."""
    with DashboardTerminal(["-c", _FAILING], tmp_path, {"GPUWATCH_DEBUG": "1"}) as terminal:
        assert terminal.leave() != 0
        _, _, after = terminal.seen.rpartition(b"\x1b[?1049l")
    assert b"Traceback" in after


def test_a_storm_of_sizes_is_survived(tmp_path: Path) -> None:
    """From tiny to large and back: it goes on answering keys."""
    with DashboardTerminal(_DASHBOARD, tmp_path, {}) as terminal:
        terminal.until(b"GPU 5")
        for columns, lines in ((40, 10), (300, 80), (1, 1), (60, 15), (20, 4), (80, 24)) * 3:
            terminal.resize(columns, lines)
        terminal.press(b"2")
        terminal.until(b"driver")
        terminal.press(b"q")
        assert terminal.leave() == 0


def test_wrong_keys_are_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    """One sentence names them; nothing was painted."""
    file = tmp_path / "config.toml"
    file.write_text('[keys]\n"view.gpu" = "q"\nview.fabricc = "x"\n')
    with DashboardTerminal([*_DASHBOARD, "--config", str(file)], tmp_path, {}) as terminal:
        assert terminal.leave() == 2
    assert b"no 'view.fabricc' (perhaps 'view.fabric'). 'quit' and 'view.gpu' are both on 'q'." in terminal.seen
    assert b"\x1b[?1049h" not in terminal.seen
