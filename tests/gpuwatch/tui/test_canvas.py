"""Only changed cells are repainted, and one panel's fault stays in that panel."""

import asyncio

from gpuwatch.render.ansi import Span
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.canvas import changed_regions, to_strip, with_cursor
from gpuwatch.tui.palette import PALETTES
from gpuwatch.tui.views.overview import Overview
from support.dashboard_story import story


def test_the_same_picture_paints_nothing() -> None:
    """Equal lines give no region."""
    lines = [[Span("GPU 0"), Span(" 53", "dim")], []]
    assert list(changed_regions(lines, [list(line) for line in lines], 40)) == []


def test_a_changed_number_paints_its_cells_only() -> None:
    """One digit that changes is one cell."""
    before = [[Span("GPU 0  352 W")]]
    after = [[Span("GPU 0  357 W")]]
    assert [tuple(region) for region in changed_regions(before, after, 40)] == [(9, 0, 1, 1)]


def test_near_changes_are_one_and_far_ones_two() -> None:
    """Moving the cursor costs bytes as well."""
    before = [[Span("1 2" + " " * 30 + "3")]]
    after = [[Span("4 5" + " " * 30 + "6")]]
    assert [(region.x, region.width) for region in changed_regions(before, after, 60)] == [(0, 3), (33, 1)]


def test_a_change_of_style_alone_is_a_change() -> None:
    """A number that turns red is painted."""
    before = [[Span("53", "")]]
    after = [[Span("53", "critical")]]
    assert [(region.x, region.width) for region in changed_regions(before, after, 10)] == [(0, 2)]


def test_the_cursor_covers_its_whole_line() -> None:
    """Coming and going it changes every cell of the line."""
    line = [Span("GPU 0")]
    assert [(region.x, region.width) for region in changed_regions([line], [with_cursor(line)], 12)] == [(0, 12)]


def test_a_line_that_went_away_is_blanked() -> None:
    """Fewer lines than before leave nothing behind."""
    assert [tuple(region) for region in changed_regions([[Span("ab")], [Span("cd")]], [[Span("ab")]], 10)] == [
        (0, 1, 2, 1)
    ]


def test_strips_are_as_wide_as_the_widget_in_every_theme() -> None:
    """Wide letters and cut lines fill the width exactly."""
    for theme in PALETTES:
        for text in ("", "short", "名前" * 20, "x" * 100):
            assert to_strip([Span(text)], 40, theme, False).cell_length == 40


def test_ascii_terminals_get_ascii() -> None:
    """No letter beyond ASCII is written where the terminal can't show it."""
    strip = to_strip([Span("✖ 53° ▃█ ─ ×16")], 40, "gpuwatch-dark", True)
    assert strip.text.isascii()


def test_a_panel_that_fails_says_so_and_the_others_live() -> None:
    """An exception in one view is words there; header and tabs go on."""

    async def scene() -> tuple[str, str]:
        app: GpuwatchApp = story("l4", 5).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()

            def broken(*_: object) -> None:
                raise ValueError("no such thing")

            view = app.query_one(Overview)
            view.picture = broken  # type: ignore[method-assign,assignment]  # the fault under test
            app.show_now()
            await pilot.pause()
            return view.as_text(), app._top.render_line(0).text

    told, header = asyncio.run(scene())
    assert "This panel could not be drawn: ValueError: no such thing" in told
    assert "node07" in header
