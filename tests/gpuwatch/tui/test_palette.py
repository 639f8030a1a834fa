import asyncio

import pytest
from rich.color import Color, ColorSystem
from rich.style import Style

from gpuwatch.tui.canvas import Canvas
from gpuwatch.tui.filters import plain_letters
from gpuwatch.tui.palette import PALETTES, Palette, style_of, use_few_colours
from support.dashboard_story import story

_ENOUGH_FOR_TEXT, _ENOUGH_FOR_SHAPES = 4.5, 3.0  # WCAG 2 AA
_SHAPES = {"bar", "chart", "limit"}
_ORNAMENTS = {"rule"}


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    parts = [part / 255 for part in Color.parse(colour).get_truecolor()]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Between 1, the same, and 21, black on white."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_every_text_can_be_read(palette: Palette) -> None:
    """On the background and under the cursor, by WCAG's AA; bars and charts stand out as AA asks of shapes."""
    cursor = Style.parse(palette.styles["cursor"]).bgcolor
    assert cursor is not None
    weak: list[tuple[str, float]] = []
    for role, words in palette.styles.items():
        style = Style.parse(words)
        front = style.color.name if style.color else palette.text
        behind = [style.bgcolor.name] if style.bgcolor else [palette.background, palette.surface, cursor.name]
        if role in _SHAPES:
            behind = behind[:1]
        least = min(contrast(front, back) for back in behind)
        enough = _ENOUGH_FOR_SHAPES if role in _SHAPES else _ENOUGH_FOR_TEXT
        if role not in _ORNAMENTS and least < enough:
            weak.append((role, round(least, 2)))
    assert weak == []


def test_contrast_is_what_wcag_says() -> None:
    """Black on white is 21; a known grey is at the edge."""
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_sixteen_colours_hide_nothing(palette: Palette) -> None:
    """No text falls together with its background, and the cursor is seen."""
    use_few_colours(True)
    try:
        for role in palette.styles:
            style = style_of(palette.name, role)
            assert style.color is not None
            assert style.bgcolor is not None
            front, back = (colour.downgrade(ColorSystem.STANDARD).number for colour in (style.color, style.bgcolor))
            assert front != back, role
        assert style_of(palette.name, "dim", under_cursor=True).reverse
        assert style_of(palette.name, "tab here").reverse
    finally:
        use_few_colours(False)


def test_frames_and_charts_keep_their_cells_in_ascii() -> None:
    """Each letter becomes one, wide ones two."""
    text = "╭─┊▁▃▇█⣿⠁◆● ↑名"
    assert plain_letters(text).isascii()
    assert len(plain_letters(text)) == len(text) + 1


def test_the_theme_key_goes_round_and_the_screen_follows() -> None:
    """Four themes, each painted at once, and the first again."""

    async def scene() -> list[tuple[str, object]]:
        app = story("l4", 5).app()
        seen: list[tuple[str, object]] = []
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            for _ in range(5):
                strip = app.view.render_line(1)
                seen.append((app.theme, strip._segments[0].style and strip._segments[0].style.bgcolor))
                await pilot.press("T")
                await pilot.pause()
        return seen

    seen = asyncio.run(scene())
    assert [theme for theme, _ in seen] == [*PALETTES, "gpuwatch-dark"]
    assert len({str(background) for _, background in seen}) == 4
    assert not Canvas.ascii_only
