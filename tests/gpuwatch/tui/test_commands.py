import asyncio

from gpuwatch.tui.palette_commands import commands
from gpuwatch.tui.views.registry import VIEWS
from support.dashboard_story import story


def test_every_view_gpu_group_and_theme_is_offered() -> None:
    """In plain words, each with what it does."""

    async def scene() -> list[tuple[str, str]]:
        app = story("dgx-h100-8", 5).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            return [(command.title, command.help) for command in commands(app)]

    offered = asyncio.run(scene())
    titles = [title for title, _ in offered]
    assert {view.title for view in VIEWS} <= set(titles)
    assert {"GPU 0", "GPU 7", "Group on GPU 0-7", "Theme: colour-blind", "Settings", "Help", "Pause"} <= set(titles)
    assert len(set(titles)) == len(titles)
    assert all(help_text.endswith(".") or help_text[-1].isdigit() for _, help_text in offered)


def test_gpu_5_is_three_keys_away() -> None:
    """Ctrl+P, its name, Enter."""

    async def scene() -> tuple[str, str | None]:
        app = story("dgx-h100-8", 5).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("ctrl+p")
            await pilot.press(*"gpu", "space", "5")
            await app.workers.wait_for_complete([worker for worker in app.workers if worker.node is app.screen])
            await pilot.pause(0.3)
            await pilot.press("enter")
            await pilot.pause(0.3)
            gpu = app.moment.gpu(app.chosen_gpu) if app.moment is not None else None
            return app.here, None if gpu is None else str(gpu.index)

    assert asyncio.run(scene()) == ("gpu", "5")
