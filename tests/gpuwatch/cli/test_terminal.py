import io

import pytest

from gpuwatch.cli.terminal import look


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def __init__(self, *, terminal: bool, encoding: str) -> None:
        super().__init__()
        self._terminal = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it as a plain attribute
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def seen(environ: dict[str, str], *, terminal: bool = True, encoding: str = "utf-8") -> tuple[bool, bool]:
    screen = look(Screen(terminal=terminal, encoding=encoding), environ)
    return screen.colour, screen.unicode


@pytest.mark.parametrize(
    ("terminal", "environ", "colour"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (False, {"TERM": "xterm"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "0"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour(terminal: bool, environ: dict[str, str], colour: bool) -> None:
    """Colours go to terminals that have them, unless the user says otherwise."""
    assert seen(environ, terminal=terminal)[0] is colour


@pytest.mark.parametrize(
    ("encoding", "environ", "unicode"),
    [
        ("utf-8", {"LANG": "en_US.UTF-8"}, True),
        ("utf-8", {"LANG": "de_DE.utf8"}, True),
        ("utf-8", {"LC_ALL": "C"}, False),
        ("utf-8", {"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ("utf-8", {"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ("utf-8", {"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ("utf-8", {"LC_CTYPE": "C.UTF-8"}, True),
        ("utf-8", {}, True),
        ("utf-8", {"LANG": "POSIX"}, False),
        ("iso8859-1", {"LANG": "en_US.ISO-8859-1"}, False),
        ("ascii", {"LANG": "en_US.UTF-8"}, False),
    ],
)
def test_unicode(encoding: str, environ: dict[str, str], unicode: bool) -> None:
    """Only what both the locale and the stream can carry is drawn."""
    assert seen(environ, encoding=encoding)[1] is unicode


@pytest.mark.parametrize(
    ("terminal", "environ", "width"),
    [(True, {"COLUMNS": "93"}, 93), (False, {"COLUMNS": "93"}, 93), (False, {}, 120), (True, {"COLUMNS": "wide"}, 80)],
)
def test_width(terminal: bool, environ: dict[str, str], width: int) -> None:
    """COLUMNS wins; without it and without a size there is a default."""
    assert look(Screen(terminal=terminal, encoding="utf-8"), environ).width == width
