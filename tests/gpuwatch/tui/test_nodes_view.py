import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gpuwatch.render.ansi import line_cells
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.drawing.node_cells import fleet_lines, lay_out
from gpuwatch.tui.fleet import Fleet, Node
from gpuwatch.tui.views.nodes import NodesView
from support.dashboard_story import story
from support.fleet_story import Served, fleet_app, served, urls


def with_nodes(
    count: int,
    size: tuple[int, int],
    check: Callable[[NodesView, Any, GpuwatchApp], Awaitable[None]],
    answering: Served | None = None,
) -> None:
    async def run() -> None:
        app = fleet_app(count, answering)
        async with app.run_test(size=size) as pilot:
            view = app.view
            assert isinstance(view, NodesView)
            async with asyncio.timeout(10):
                while not all(node.mark for node in nodes_of(app)):
                    await pilot.pause()
            view.redraw()
            await check(view, pilot, app)

    asyncio.run(run())


def nodes_of(app: GpuwatchApp) -> list[Node]:
    assert app.fleet is not None
    return app.fleet.nodes


def header(app: GpuwatchApp) -> str:
    assert app.fleet is not None
    return "\n".join("".join(span.text for span in line) for line in fleet_lines(app.fleet, 120))


def test_cells_say_how_each_node_is() -> None:
    """Name, power, what its GPUs do and the worst finding; who does not answer says why; the header counts them."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        told = view.as_text()
        for words in (
            "● node00",
            "✖ node05",
            "▲ node11",
            "⊘ node13",
            "⊘ node17",
            "Connection refused",
            "no answer within 3 s",
            "wants a token",
            "no GPUs",
            "GPU 5 is slowed",
        ):
            assert words in told, words
        assert "50 nodes · 376 GPUs · 210.0 kW" in header(app)
        assert "3 unreachable" in header(app)
        assert "44 well" in header(app)
        assert " SIMULATED " in header(app)

    with_nodes(50, (120, 40), check)


@pytest.mark.parametrize("count", [1, 2, 6, 17, 50, 200])
def test_every_number_fits_every_size(count: int) -> None:
    """No line is wider or lower than the screen, and the cursor's cell is always among those seen."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        for width, height in ((40, 6), (60, 11), (80, 20), (120, 36), (200, 56), (300, 76)):
            for node in (nodes_of(app)[0], nodes_of(app)[-1]):
                view.chosen_url = node.url
                drawing = view.draw(width, height)
                assert len(drawing.lines) <= height
                assert all(line_cells(line) <= width for line in drawing.lines), (width, height)
                assert any(node.url in hit.action for hit in drawing.hits)

    with_nodes(count, (120, 40), check)


def test_fifty_nodes_fit_a_small_terminal() -> None:
    """On 80 by 24 all fifty are seen at once."""
    grid = lay_out(50, 80, 17)
    assert grid.columns * (17 // grid.pitch) >= 50


def test_the_cursor_goes_by_cells() -> None:
    """Arrows move by cells, `n` goes to the next that is not well and round, home and end to the ends."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        def at() -> int:
            return next(place for place, node in enumerate(nodes_of(app)) if node.url == view.chosen_url)

        await pilot.press("right", "down")
        columns = at() - 1
        assert columns == lay_out(50, 120, 32).columns
        await pilot.press("left", "up")
        assert at() == 0
        await pilot.press("n")
        assert at() == 5
        await pilot.press("n", "n", "n")
        assert at() == 17
        await pilot.press("end")
        assert at() == 49
        await pilot.press("n")
        assert at() == 5
        await pilot.press("home")
        assert at() == 0

    with_nodes(50, (120, 40), check)


def test_enter_goes_in_and_backspace_comes_back() -> None:
    """Enter follows the chosen node on the first view; the key back shows the cells again, and another can be chosen."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        await pilot.press("n", "enter")
        async with asyncio.timeout(10):
            while app.moment is None:
                await pilot.pause()
        assert app.here == "overview"
        assert app.moment.frame.node == "node05"
        assert app.moment.feed.kind == "remote"
        first = app.player
        await pilot.press("backspace")
        assert app.here == "nodes"
        assert "▸" in view.as_text()
        await pilot.press("home", "enter")
        async with asyncio.timeout(10):
            while app.moment is None or app.moment.frame.node != "node00":
                await pilot.pause()
        assert app.player is not first

    with_nodes(20, (120, 40), check)


def test_a_node_that_refuses_says_so_inside() -> None:
    """Going into one that does not answer shows the sentence in place of the view."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        view.chosen_url = urls(20)[13]
        await pilot.press("enter")
        async with asyncio.timeout(10):
            while "Connection refused" not in app.view.as_text():
                await pilot.pause()
        assert app.moment is None
        assert "No gpuwatch agent answers at http://node13:9489" in app.view.as_text()

    with_nodes(20, (120, 40), check)


def test_a_click_chooses_and_another_goes_in() -> None:
    """The mouse does what cursor and Enter do."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        hit = next(hit for hit in view.draw(*view.size).hits if urls(20)[7] in hit.action)
        await pilot.click(view, offset=(hit.x + 2, hit.y))
        assert view.chosen_url == urls(20)[7]
        await pilot.click(view, offset=(hit.x + 2, hit.y))
        async with asyncio.timeout(10):
            while app.here != "overview":
                await pilot.pause()

    with_nodes(20, (120, 40), check)


def test_other_views_say_that_no_node_is_chosen() -> None:
    """Before one is chosen, a view names the key of the picker."""

    async def check(view: NodesView, pilot: Any, app: GpuwatchApp) -> None:
        await pilot.press("3")
        await pilot.pause()
        assert "No node is chosen yet: key 8 lists them." in app.view.as_text()

    with_nodes(3, (80, 24), check)


def test_nobody_is_asked_while_nobody_looks() -> None:
    """Away from the picker its agents are left alone; coming back asks them again."""

    async def run() -> None:
        answering = served()
        fleet = Fleet(urls(4), pace_s=0.0, transport=answering.transport)
        running = asyncio.create_task(fleet.run(lambda: None))
        async with asyncio.timeout(10):
            while len(answering.asked) < 20:
                await asyncio.sleep(0)
            fleet.watch(watched=False)
            for _ in range(50):
                await asyncio.sleep(0)
            before = len(answering.asked)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(answering.asked) == before
            fleet.watch(watched=True)
            while len(answering.asked) < before + 4:
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_single_node_is_told_how_to_have_more() -> None:
    """With one node the screen says so and names both ways to several; time's keys keep their meaning there."""

    async def run() -> None:
        app = story("dgx-h100-8", 30).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("8")
            await pilot.pause()
            told = app.view.as_text()
            assert "This dashboard shows node07." in told
            assert "gpuwatch --hosts FILE" in told
            await pilot.press("left")
            assert app.player.paused

    asyncio.run(run())
