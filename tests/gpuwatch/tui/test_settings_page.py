import asyncio
from pathlib import Path

import pytest

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.canvas import Canvas
from gpuwatch.tui.dialogs.settings import SettingsPage, choices
from gpuwatch_agent.config import DashboardSection
from support.dashboard_story import story


def app_with(file: Path | None, settings: DashboardSection | None = None) -> GpuwatchApp:
    app = story("l4", 5).app()
    app.take_settings(settings or DashboardSection(), file=file)
    return app


def test_every_setting_of_the_dashboard_is_on_the_page() -> None:
    """What is declared can be chosen, its default among the values."""
    offered = {choice.name: choice for choice in choices()}
    assert set(offered) == set(DashboardSection.__struct_fields__)
    for name, choice in offered.items():
        assert getattr(DashboardSection(), name) in choice.values
        assert choice.words


def test_f2_changes_at_once_and_saves_when_it_is_closed(tmp_path: Path) -> None:
    """The theme turns with the key; what was in the file stays, and only what was changed is written."""
    file = tmp_path / "config.toml"
    file.write_text("# mine\n[agent]\n")

    async def scene() -> tuple[str, str]:
        app = app_with(file)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("f2", "right")
            turned = app.theme
            assert file.read_text() == "# mine\n[agent]\n"
            await pilot.press("down", "down", "down", "down", "left", "escape")
            await pilot.pause()
            assert app.read_only
            return turned, file.read_text()

    turned, text = asyncio.run(scene())
    assert turned == "gpuwatch-light"
    assert text == '# mine\n[agent]\n\n[dashboard]\ntheme = "light"\nread_only = true\n'


def test_undo_leaves_all_as_it_was(tmp_path: Path) -> None:
    """Nothing is written, and the theme is back."""
    file = tmp_path / "config.toml"

    async def scene() -> str:
        app = app_with(file)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("f2", "right", "right", "u", "escape")
            await pilot.pause()
            return app.theme

    assert asyncio.run(scene()) == "gpuwatch-dark"
    assert not file.exists()


def test_a_click_chooses_a_value(tmp_path: Path) -> None:
    """The mouse does what the keys do."""

    async def scene() -> DashboardSection:
        app = app_with(None)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("f2")
            page = app.screen
            assert isinstance(page, SettingsPage)
            hit = next(hit for hit in page._rows._hits if "'contrast'" in hit.action)
            await pilot.click(page._rows, offset=(hit.x + 1, hit.y))
            await pilot.pause()
            return app.settings

    assert asyncio.run(scene()).theme == "contrast"


@pytest.mark.parametrize(("locked", "told"), [(False, "no home folder"), (True, "may only read")])
def test_where_nothing_can_be_saved_it_is_said(locked: bool, told: str, tmp_path: Path) -> None:
    """The settings hold until somebody quits; a browser that may only read can't allow itself more."""

    async def scene() -> tuple[list[str], bool]:
        app = story("l4", 5).app()
        app.take_settings(
            DashboardSection(read_only=locked), file=tmp_path / "config.toml" if locked else None, locked=locked
        )
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("f2", "down", "down", "down", "down", "right", "escape")
            await pilot.pause()
            return [note.message for note in app._notifications], app.read_only

    notes, read_only = asyncio.run(scene())
    assert any(told in note for note in notes)
    assert read_only
    assert not (tmp_path / "config.toml").exists()


def test_ascii_turns_the_screen_at_once() -> None:
    """What was drawn before is painted anew, frames of dialogs included; and back."""

    async def scene() -> tuple[str, str]:
        app = app_with(None)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("f2", "down", "right")
            await pilot.pause()
            plain = "".join(strip.text for strip in app.screen._compositor.render_strips())
            await pilot.press("left")
            await pilot.pause()
            return plain, "".join(strip.text for strip in app.screen._compositor.render_strips())

    plain, back = asyncio.run(scene())
    assert plain.isascii()
    assert not back.isascii()
    assert not Canvas.ascii_only


@pytest.mark.parametrize(
    ("choice", "ssh", "level"),
    [("auto", "", "full"), ("auto", "10.0.0.1 1 10.0.0.2 22", "none"), ("always", "", "none"), ("never", "x", "full")],
)
def test_motion_is_reduced_over_ssh(choice: str, ssh: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself there, and wherever somebody wants it."""
    monkeypatch.setenv("SSH_CONNECTION", ssh)
    monkeypatch.delenv("SSH_TTY", raising=False)
    app = app_with(None, DashboardSection(reduced_motion=choice))  # type: ignore[arg-type]  # one of the three
    assert app.animation_level == level
    assert app._most_draws_per_s == (1 if level == "none" else 4)


def test_charts_begin_with_the_time_that_was_set() -> None:
    """The nearest of the spans there are, until somebody chose another."""

    async def scene(history_s: int) -> int:
        app = app_with(None, DashboardSection(history_s=history_s))
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await app.action_show_view("gpu")
            view = app.view
            shown = view._span_shown()  # type: ignore[attr-defined]  # it is the view of one GPU
            assert isinstance(shown, int)
            return shown

    assert [asyncio.run(scene(seconds)) for seconds in (120, 290, 3600)] == [0, 1, 4]


def test_where_only_reading_is_allowed_the_pace_stays() -> None:
    """A key that changes something says why it does not."""

    async def scene() -> list[str]:
        app = app_with(None, DashboardSection(read_only=True))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("plus")
            return [note.message for note in app._notifications]

    assert any("read-only" in note for note in asyncio.run(scene()))
