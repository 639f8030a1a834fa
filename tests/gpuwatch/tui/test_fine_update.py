"""Few bytes for the terminal, and the same picture on it."""

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from gpuwatch.tui.fine_update import _Pen

_RED = Style.parse("#ff0000 on #000000")
_BLUE = Style.parse("#0000ff on #000000")
_BOLD = Style.parse("bold #0000ff on #000000")


def _written(*segments: Segment, colours: ColorSystem = ColorSystem.TRUECOLOR) -> str:
    pen = _Pen(colours)
    pen.write(segments)
    return pen.written()


def test_a_style_is_said_once() -> None:
    """Neighbours in the same style share its words, and the end is plain."""
    assert _written(Segment("1", _RED), Segment("2", _RED)) == "\x1b[38;2;255;0;0;48;2;0;0;0m12\x1b[0m"


def test_a_style_is_said_once_over_a_move() -> None:
    """Moving the cursor changes no colour."""
    pen = _Pen(ColorSystem.TRUECOLOR)
    pen.write([Segment("1", _RED)])
    pen.move_to(4, 2)
    pen.write([Segment("2", _RED)])
    assert pen.written() == "\x1b[38;2;255;0;0;48;2;0;0;0m1\x1b[3;5H2\x1b[0m"


def test_only_the_colour_that_differs_is_said() -> None:
    """The background stays as it is."""
    assert _written(Segment("1", _RED), Segment("2", _BLUE)).endswith("1\x1b[38;2;0;0;255m2\x1b[0m")


def test_a_weight_begins_anew() -> None:
    """Coming to bold and going from it both say the whole style."""
    written = _written(Segment("1", _BLUE), Segment("2", _BOLD), Segment("3", _BLUE))
    assert "\x1b[0;1;38;2;0;0;255;48;2;0;0;0m2" in written
    assert "\x1b[0;38;2;0;0;255;48;2;0;0;0m3" in written


def test_a_colour_that_goes_away_is_taken_back() -> None:
    """What has no style is plain."""
    assert _written(Segment("1", _RED), Segment("2", None)).endswith("1\x1b[0m2")


def test_sixteen_colours_are_said_as_such() -> None:
    """A terminal that knows no more gets no more."""
    assert "38;2" not in _written(Segment("1", _RED), Segment("2", _BOLD), colours=ColorSystem.STANDARD)
