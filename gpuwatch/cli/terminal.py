"""What the terminal at the other end can show."""

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple, TextIO

_PLAIN_WIDTH = 120  # a pipe has no width: wide enough for the facts, narrow enough to be read


class Terminal(NamedTuple):
    """How to draw."""

    width: int
    height: int
    colour: bool
    unicode: bool
    interactive: bool


def look(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Terminal:
    """The stream's abilities, as the environment and the system tell them."""
    stream = sys.stdout if stream is None else stream
    environ = os.environ if environ is None else environ
    interactive = stream.isatty()
    columns, lines = _size(stream) if interactive else (0, 0)
    width = _positive(environ.get("COLUMNS")) or columns or (80 if interactive else _PLAIN_WIDTH)
    height = _positive(environ.get("LINES")) or lines or 24
    return Terminal(width, height, _colour(environ, interactive), _unicode(environ, stream.encoding), interactive)


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 0, 0
    return size.columns, size.lines


def _positive(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and text.isascii() else 0


def _colour(environ: Mapping[str, str], interactive: bool) -> bool:
    """no-color.org and force-color.org; a dumb terminal shows escapes as text."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR") not in {None, "", "0"}:
        return True
    return interactive and environ.get("TERM") not in {None, "", "dumb"}


def _unicode(environ: Mapping[str, str], encoding: str | None) -> bool:
    """Whether the locale can show more than ASCII.

    Python writes UTF-8 even under the C locale, so the encoding alone does not tell; and it sets LC_CTYPE=C.UTF-8 for
    itself there, so that value beside LANG=C is not the user's word.
    """
    if (encoding or "").lower().replace("-", "") != "utf8":
        return False
    chosen = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C.UTF-8"
    if chosen == "C.UTF-8" and environ.get("LANG") in {"C", "POSIX"} and not environ.get("LC_ALL"):
        return False
    return chosen.lower().replace("-", "").partition("@")[0].endswith("utf8")
