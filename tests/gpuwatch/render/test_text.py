import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwatch.render.text import bar, cells_of, clean, cut, to_ascii, wrap


@given(st.text())
def test_clean_leaves_nothing_that_acts(text: str) -> None:
    """No control, format, combining or unassigned character survives."""
    kinds = {unicodedata.category(letter) for letter in clean(text)}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zl", "Zp"}


@given(st.text(), st.integers(0, 30))
def test_cut_fits(text: str, width: int) -> None:
    """The result is never wider, and unchanged if it fitted."""
    cleaned = clean(text)
    shown = cut(cleaned, width)
    assert cells_of(shown) <= width
    assert (shown == cleaned) == (cells_of(cleaned) <= width)


@given(st.text(), st.integers(2, 30))
def test_wrap_fits_and_loses_nothing(text: str, width: int) -> None:
    """Every line fits, and together they hold every letter."""
    cleaned = clean(text)
    lines = wrap(cleaned, width)
    assert all(0 < cells_of(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(cleaned.split())


@given(st.text())
def test_ascii_keeps_the_width(text: str) -> None:
    """Columns stay aligned when the terminal knows only ASCII."""
    cleaned = clean(text)
    assert to_ascii(cleaned).isascii()
    assert len(to_ascii(cleaned)) == cells_of(cleaned)


@given(st.floats(allow_nan=False), st.integers(1, 40))
def test_a_bar_is_as_wide_as_asked(share: float, width: int) -> None:
    """Whatever the share, the bar has its width."""
    assert cells_of(bar(share, width)) == width


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, "░░░░"), (1, "████"), (0.5, "██░░"), (1 / 32, "▏░░░"), (31 / 32, "███▉")]
)
def test_a_bar_shows_its_share_in_eighths(share: float, drawn: str) -> None:
    """The last cell is filled by eighths."""
    assert bar(share, 4) == drawn


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("日本", 4), ("é", 1), ("🚀", 2), ("░█▏", 3), ("ﾊ", 1)])
def test_cells(text: str, cells: int) -> None:
    """Wide letters take two cells, the rest one."""
    assert cells_of(clean(text)) == cells
