"""What holds on every screen, whatever the machine and however small or large the terminal."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from gpuwatch.render.ansi import line_cells
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.palette import PALETTES, style_of
from support.dashboard_screen import SCENES, SIZES, Scene, drawn_at, opened, screen_of, settled, words
from support.dashboard_story import story

_WIDTHS = (40, 48, 56, 60, 72, 80, 90, 100, 110, 120, 140, 160, 200, 240, 300)
_HEIGHTS = (10, 12, 15, 18, 24, 30, 40, 60, 80)
_ALL_SIZES = [(width, height) for width in _WIDTHS for height in _HEIGHTS]
_ORDER = {"critical": 0, "warning": 1}


def _complaints(app: GpuwatchApp, scene: Scene, width: int, height: int) -> Iterator[str]:
    """What is wrong with the screen at that size, in words."""
    lines = drawn_at(app, width, height)
    told = words(lines)
    if len(lines) != height:
        yield f"{len(lines)} lines instead of {height}"
    yield from (
        f"wider than the screen: {text!r}" for line, text in zip(lines, told, strict=True) if line_cells(line) > width
    )
    if any("could not be drawn" in text for text in told):
        yield f"a panel failed: {told}"
    assert app.moment is not None
    grave = [finding for finding in app.moment.frame.findings if finding.severity in _ORDER and finding.gpus]
    head = " ".join(told[1:3])
    if grave:
        worst = min(grave, key=lambda finding: _ORDER[finding.severity])
        named = [gpus for finding in grave if finding.severity == worst.severity for gpus in finding.gpus]
        if not any(re.search(rf"GPUs? [\d, –-]*{index}\b", head) for index in named):
            yield f"the worst finding's GPU is not named: {head!r}"
    if scene.view == "overview":
        yield from _missing_gpus(app, told)


def _missing_gpus(app: GpuwatchApp, told: list[str]) -> Iterator[str]:
    """Every GPU has its index in a row of its own, or in a cell of its own where it is tight."""
    assert app.moment is not None
    body = "\n".join(told[2:-1])
    for gpu in app.moment.frame.gpus:
        if not re.search(rf"(?m)(^|[ ✖▲◌⊘]){gpu.index}(\s+(\d|–|lost)|\s*$| )", body):
            yield f"GPU {gpu.index} is missing in\n{body}"


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.name != "help"], ids=lambda scene: scene.name)
def test_screens_hold_at_every_size(scene: Scene) -> None:
    """From 40×10 to 300×80: nothing too wide, no panel fails, the worst finding is named, no GPU is left out."""

    async def look() -> list[str]:
        app = story(scene.spec, scene.seconds).app()
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(scene, app, pilot)
            return [
                f"{width}×{height}: {complaint}"
                for width, height in _ALL_SIZES
                for complaint in _complaints(app, scene, width, height)
            ]

    complaints = asyncio.run(look())
    assert not complaints, "\n".join(complaints)


def test_a_storm_of_resizes_ends_in_the_picture_of_the_last_size() -> None:
    """Whatever came before, the screen is the one that a fresh start at that size shows."""

    async def scene() -> tuple[list[str], list[str]]:
        async with story("dgx-h100-8+hot@5").app().run_test(size=(120, 40)) as fresh:
            await opened(SCENES[1], _of(fresh.app), fresh)
            wanted = words(screen_of(_of(fresh.app)))
        async with story("dgx-h100-8+hot@5").app().run_test(size=(80, 24)) as pilot:
            await opened(SCENES[1], _of(pilot.app), pilot)
            for width, height in (*SIZES, (40, 10), (300, 80), (41, 11), (20, 5), (1, 1), (120, 40)):
                await pilot.resize_terminal(width, height)
            await settled(_of(pilot.app), pilot)
            return words(screen_of(_of(pilot.app))), wanted

    seen, wanted = asyncio.run(scene())
    assert seen == wanted


def _of(app: object) -> GpuwatchApp:
    assert isinstance(app, GpuwatchApp)
    return app


def test_a_second_later_most_cells_are_the_same() -> None:
    """On a hot node at 160×48 a second changes less than a twentieth of the screen."""

    async def scene() -> list[int]:
        whole = story("dgx-h100-8+hot@5", 140)
        part = whole._replace(frames=whole.frames[:120])
        app = part.app()
        async with app.run_test(size=(160, 48)) as pilot:
            await pilot.pause()
            seen = [words(screen_of(app))]
            for frame in whole.frames[120:]:
                app.feed.play(frame)  # type: ignore[attr-defined]  # a recorded feed plays
                app.show_now()
                seen.append(words(screen_of(app)))
        return [
            sum(
                was != now
                for old, new in zip(*both, strict=True)
                for was, now in zip(old.ljust(160), new.ljust(160), strict=True)
            )
            for both in pairwise(seen)
        ]

    changed = asyncio.run(scene())
    assert max(changed) > 0
    assert sum(changed) / len(changed) < 160 * 48 / 20


@pytest.mark.parametrize("palette", PALETTES)
def test_every_role_can_be_read_on_every_background(palette: str) -> None:
    """WCAG's contrast: 3 for marks and large shapes, more for what has to be read; rules may be fainter."""
    faint = {"rule": 1.5, "bar": 2.0, "chart": 2.5, "limit": 2.5, "dim": 3.0, "tab": 3.0, "wait": 3.0}
    weak = []
    for role in PALETTES[palette].styles:
        style = style_of(palette, role)
        assert style.color is not None
        assert style.bgcolor is not None
        contrast = _contrast(style.color.get_truecolor(), style.bgcolor.get_truecolor())
        if contrast < faint.get(role, 4.0):
            weak.append(f"{role}: {contrast:.1f}")
    assert weak == []


def _contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: tuple[int, int, int]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
