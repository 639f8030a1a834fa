import asyncio

from msgspec import structs

from gpuwatch.render.ansi import Line, line_cells
from gpuwatch.render.header import host_line
from gpuwatch.tui.drawing.chrome import cost_in_footer, draw_footer, draw_header, draw_headline
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.registry import VIEWS
from support.dashboard_story import story

_TABS = [(view.name_of, view.title, view.short) for view in VIEWS]
_WIDTHS = (20, 40, 60, 80, 100, 118, 120, 160, 200, 300)


def moment_of(spec: str, seconds: int = 60) -> Moment:
    """The last moment of a story as the dashboard has it."""

    async def scene() -> Moment:
        app = story(spec, seconds).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            app.show_now()
            assert app.moment is not None
            return app.moment

    return asyncio.run(scene())


def words(line: Line) -> str:
    return "".join(span.text for span in line)


def test_header_and_footer_are_never_wider_than_the_screen() -> None:
    """At every width, healthy and not, live and late."""
    for spec in ("dgx-h100-8", "dgx-h100-8+hot@5"):
        moment = moment_of(spec)
        for seen in (moment, structs.replace(moment, now=moment.now + 90, paused=True)):
            for width in _WIDTHS:
                assert line_cells(draw_header(seen, width)) <= width
                assert line_cells(draw_footer(_TABS, "overview", seen, width).lines[0]) <= max(width, 24)


def test_the_header_never_runs_into_the_freshness() -> None:
    """Where the node's line fills its room to the last cell, a cell is kept free."""
    moment = moment_of("dgx-h100-8")
    for width in range(100, 201):
        assert " ● live" in words(draw_header(moment, width))


def test_findings_are_counted_on_their_tab() -> None:
    """The worst kind with its sign; a healthy node has nothing there."""
    assert "6 Findings ✖2 " in words(draw_footer(_TABS, "overview", moment_of("dgx-h100-8+hot@5"), 120).lines[0])
    healthy = words(draw_footer(_TABS, "overview", moment_of("dgx-h100-8"), 120).lines[0])
    assert "6 Findings  7" in healthy


def test_a_tab_and_its_count_can_be_clicked() -> None:
    """The stretch that lights up is the stretch that works."""
    drawing = draw_footer(_TABS, "overview", moment_of("dgx-h100-8+hot@5"), 120)
    hit = next(hit for hit in drawing.hits if hit.action == "app.show_view('findings')")
    assert words(drawing.lines[0])[hit.x : hit.x + hit.width].strip() == "6 Findings ✖2"


def test_the_own_cost_is_told_once() -> None:
    """In the footer where it has room, else behind the host."""
    moment = moment_of("dgx-h100-8")
    for width in _WIDTHS[2:]:
        footer = words(draw_footer(_TABS, "overview", moment, width).lines[0])
        host = words(host_line(moment.frame, 200, own_cost=not cost_in_footer(width)) or [])
        assert ("0.9 % 61 MiB" in footer) + ("0.9 % 61 MiB" in host) == 1


def test_what_is_old_says_how_old() -> None:
    """Live and how often while it comes, its age when it does not, paused or not."""
    moment = moment_of("dgx-h100-8")
    assert words(draw_header(moment, 120)).endswith("● live · 1 s ")
    late = structs.replace(moment, now=moment.now + 12)
    assert words(draw_header(late, 120)).endswith("◌ 12 s old ")
    assert words(draw_header(late, 60)).endswith("◌ 12 s old ")
    assert "live" not in words(draw_header(structs.replace(moment, paused=True), 120))


def test_all_is_not_well_while_a_reading_warns() -> None:
    """A finding takes its time; until then the reading itself is told."""
    told = words(draw_headline(moment_of("dgx-h100-8+hot@5", 1), 100, 2)[0])
    assert told.startswith(" ▲ GPU 5: ")
    assert "well" not in told


def test_no_gpu_is_hidden_without_a_word() -> None:
    """At 40 by 10 the last line counts those that have no room."""

    async def scene() -> str:
        app = story("dgx2-v100-16", 5).app()
        async with app.run_test(size=(40, 10)) as pilot:
            await pilot.pause()
            app.show_now()
            await pilot.pause()
            return "\n".join(words(line) for line in app.view._lines)

    shown = asyncio.run(scene())
    assert " 0" in shown
    assert " 15" in shown or " more" in shown
