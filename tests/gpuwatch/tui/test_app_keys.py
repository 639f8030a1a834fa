"""Keys and clicks that work on every view."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.dialogs.base import Page
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch.tui.views.registry import VIEWS
from support.dashboard_screen import Scene, opened, screen_of, words
from support.dashboard_story import NOON, Story, story

_HOT = Scene("hot", "dgx-h100-8+hot@5")
Act = Callable[[GpuwatchApp, Pilot[None]], Awaitable[None]]


def _play(act: Act, *, told: Story | None = None, size: tuple[int, int] = (120, 40)) -> None:
    """Open the hot node, or another story, and act."""

    async def scene() -> None:
        app = (told or story(_HOT.spec)).app()
        async with app.run_test(size=size) as pilot:
            await opened(_HOT, app, pilot)
            await act(app, pilot)

    asyncio.run(scene())


def _second(app: GpuwatchApp) -> int:
    """Which second of the story is shown."""
    assert app.moment is not None
    return round(app.moment.frame.taken_at - NOON)


def _screen(app: GpuwatchApp) -> str:
    return "\n".join(words(screen_of(app)))


def test_number_keys_turn_to_their_views() -> None:
    """1 to 8, in the order of the tabs, and the tab that is open is marked."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        for number, view in reversed(list(enumerate(VIEWS, start=1))):
            await pilot.press(str(number))
            assert app.here == view.name_of
            assert app.view.has_focus
            here = [span.text for line in screen_of(app) for span in line if span.style == "tab here"]
            assert here == [f" {number} {view.title} "]

    _play(act)


def test_pause_is_unmistakable_and_goes_on() -> None:
    """PAUSED in the header, the timeline above the tabs, and none of it after the second p."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert "PAUSED" in words(screen_of(app))[0]
        timeline, told = words(screen_of(app))[-3:-1]
        assert "◆" in timeline
        assert "✖" in timeline
        assert " 0 s ago" in told
        await pilot.press("p")
        assert "PAUSED" not in _screen(app)
        assert "ago" not in words(screen_of(app))[-2]

    _play(act)


def test_time_goes_by_second_and_by_ten() -> None:
    """Arrows, shift with arrows, home, end; ahead of the newest there is now."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        seen = []
        for key in ("left", "left", "shift+left", "right", "shift+left", "home", "shift+right", "end"):
            await pilot.press(key)
            seen.append(_second(app))
        assert seen == [118, 117, 107, 108, 98, 0, 10, 119]
        assert not app.player.paused

    _play(act)


def test_every_view_shows_the_moment_that_was_turned_back_to() -> None:
    """The clock in the header and the charts' mark go with it, whichever view is open."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("home", "shift+right", "shift+right", "shift+right")
        for number in range(1, len(VIEWS) + 1):
            await pilot.press(str(number))
            assert words(screen_of(app))[0].endswith("12:00:30")
            assert app.view.moment is app.moment
        await pilot.press("2")
        assert any(span.style == "mark" for line in screen_of(app)[4:-3] for span in line)

    _play(act)


def test_brackets_lead_from_finding_to_finding() -> None:
    """[ goes back to when something was raised; where there is nothing further, words say so."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        raised = sorted({round(event.at - NOON) for event in app.feed.events()})
        await pilot.press("left_square_bracket")
        assert _second(app) in {raised[-1], raised[-1] + 1}
        await pilot.press("home", "left_square_bracket")
        assert any("no finding in that direction" in notice.message for notice in app._notifications)
        await pilot.press("right_square_bracket")
        assert _second(app) > 0

    _play(act)


def test_a_recordings_pace_is_its_own() -> None:
    """+ and - say why nothing changes where the pace is not ours."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("plus")
        assert [notice.message for notice in app._notifications] == [
            "The agent's pace is set on its own machine (sampling.interval_s)."
        ]

    _play(act)


def test_plus_reads_more_often_and_minus_less_often() -> None:
    """In steps that people count in; the ends hold."""

    class Willing(RecordedFeed):
        async def set_interval(self, interval_s: float) -> bool:
            self.interval_s = interval_s
            return True

    async def scene() -> list[float]:
        feed = Willing(story("l4", 5).frames, kind="embedded")
        app = GpuwatchApp(feed, wall_clock=lambda: NOON)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            paces = []
            for key in ("plus", "minus", "minus", *["plus"] * 9, *["minus"] * 9):
                await pilot.press(key)
                paces.append(feed.interval_s)
            return paces

    paces = asyncio.run(scene())
    assert paces[:3] == [0.5, 1.0, 2.0]
    assert (min(paces), max(paces)) == (0.1, 60.0)


def test_y_copies_what_is_seen_and_capital_y_data() -> None:
    """Text as it is on the screen; JSON that a program can read."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("y")
        assert "TP5 late" in app.clipboard
        assert app.clipboard == app.view.as_text()
        await pilot.press("Y")
        assert json.loads(app.clipboard)["gpus"][5]["index"] == 5
        await pilot.press("6", "Y")
        assert json.loads(app.clipboard)["kind"] == "thermal_throttle"
        await pilot.press("y")
        assert app.clipboard.startswith("thermal_throttle on node07, critical")

    _play(act)


def test_s_saves_a_picture_that_is_an_svg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory, named by view and time, and the name is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        saved = tmp_path / "gpuwatch-overview-20261120-120159.svg"
        assert "node07" in saved.read_text()
        assert [notice.message for notice in app._notifications] == [f"Saved {saved.name}."]

    _play(act)


def test_a_picture_that_cannot_be_saved_is_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback; what to do instead."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        assert "Start gpuwatch in a folder of yours" in next(iter(app._notifications)).message

    _play(act)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", ["question_mark", "h", "f1"])
def test_help_opens_and_closes(key: str) -> None:
    """Three keys open it; Esc and q close it and leave the dashboard running."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        for closing in ("escape", "q"):
            await pilot.press(key)
            assert len(app.screen_stack) == 2
            await pilot.press(closing)
            assert len(app.screen_stack) == 1
        assert app.is_running

    _play(act)


def test_help_tells_every_key_of_a_view_once() -> None:
    """A view that adds no keys to those of a list has them once."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("h")
        await pilot.pause()
        page = app.screen
        assert isinstance(page, Page)
        told = ["".join(span.text for span in line).strip() for line in page._draw(80)]
        assert sum(line.startswith("PgUp") for line in told) == 1

    _play(act)


def test_f5_paints_everything_anew() -> None:
    """The picture after it is the picture before it."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        before = _screen(app)
        await pilot.press("f5")
        await pilot.pause()
        assert _screen(app) == before

    _play(act)


def test_esc_never_quits_and_q_does() -> None:
    """On every view."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        for number in range(1, len(VIEWS) + 1):
            await pilot.press(str(number), "escape", "escape")
            assert app.is_running
            assert app._exit is False
        await pilot.press("q")
        assert app._exit is True

    _play(act)


def test_tabs_and_footer_keys_can_be_clicked() -> None:
    """Each tab leads to its view; pause pauses."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        footer = words(screen_of(app))[-1]
        for number, view in enumerate(VIEWS, start=1):
            await pilot.click("#bottom", offset=(footer.index(f"{number} {view.title}"), 0))
            assert app.here == view.name_of
        await pilot.click("#bottom", offset=(footer.index("pause"), 0))
        assert app.player.paused

    _play(act, size=(160, 40))


def test_a_row_is_chosen_by_one_click_and_opened_by_the_next() -> None:
    """Click, click, and everything about that GPU is there."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        lines = words(screen_of(app))
        y = next(y for y, text in enumerate(lines) if text.startswith(" ✖   5"))
        top = app.view.region.y
        await pilot.click("#overview", offset=(20, y - top))
        assert app.here == "overview"
        await pilot.click("#overview", offset=(20, y - top))
        await pilot.pause()
        assert app.here == "gpu"
        assert "GPU 5" in _screen(app)

    _play(act)


def test_a_click_on_a_groups_title_opens_the_group_and_on_a_process_the_processes() -> None:
    """What is seen leads to where more is said of it."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        lines = words(screen_of(app))
        top = app.view.region.y
        y = next(y for y, text in enumerate(lines) if "tensor-parallel" in text)
        await pilot.click("#overview", offset=(20, y - top))
        assert app.here == "groups"
        await pilot.press("1")
        y = next(y for y, text in enumerate(lines) if "VLLM::Worker_TP3" in text)
        await pilot.click("#overview", offset=(20, y - top))
        assert app.here == "processes"

    _play(act)


def test_a_click_on_a_chart_goes_to_that_time() -> None:
    """All views are then at that moment."""

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        lines = words(screen_of(app))
        y = next(y for y, text in enumerate(lines) if " power " in text and "W" in text and "/ 700" in text)
        await pilot.click("#gpu", offset=(lines[y].index("power ", 45) + 26, y - app.view.region.y + 2))
        assert app.player.paused
        assert 0 <= _second(app) < 119

    _play(act)


def test_data_goes_on_while_paused() -> None:
    """What comes in meanwhile is not shown, is not lost, and can be gone to."""
    whole = story(_HOT.spec, 140)
    part = whole._replace(frames=whole.frames[:120])

    async def act(app: GpuwatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert isinstance(app.feed, RecordedFeed)
        for frame in whole.frames[120:]:
            app.feed.play(frame)
        assert _second(app) == 119
        assert " 20 s ago" in _screen(app)
        await pilot.press("right", "right")
        assert _second(app) == 121
        await pilot.press("end")
        assert _second(app) == 139

    _play(act, told=part)


def test_keys_before_the_first_frame_do_no_harm() -> None:
    """Everything can be pressed while the driver still thinks."""

    class Silent(RecordedFeed):
        async def run(self, *told: object) -> None:
            await asyncio.Event().wait()

    async def scene() -> None:
        app = GpuwatchApp(Silent([], kind="embedded"), wall_clock=lambda: NOON)
        async with app.run_test(size=(80, 24)) as pilot:
            for key in (
                "p",
                "left",
                "home",
                "end",
                "left_square_bracket",
                "y",
                "Y",
                "2",
                "3",
                "4",
                "5",
                "6",
                "f5",
                "1",
            ):
                await pilot.press(key)
            app.view.redraw()
            assert "Waiting for the first reading" in app.view.as_text()

    asyncio.run(scene())
