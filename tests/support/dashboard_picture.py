"""The dashboard as an SVG that looks the same in browsers and in other renderers."""

import re

from support.dashboard_screen import Scene, opened, settled
from support.dashboard_story import story

# Renderers other than browsers drop the spaces at the beginning of a text element: it is moved right instead.
_LEADING = re.compile(r'x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)')
_CELL = 12.2


async def picture(scene: Scene, size: tuple[int, int], theme: str = "dark", title: str = "") -> str:
    """The scene on a terminal of that size."""
    app = story(scene.spec, scene.seconds).app()
    async with app.run_test(size=size) as pilot:
        app.theme = f"gpuwatch-{theme}"
        await opened(scene, app, pilot)
        if app.screen is app.screen_stack[0]:
            await settled(app, pilot)
        return _LEADING.sub(_moved_right, app.export_screenshot(title=title or f"gpuwatch {scene.spec}"))


def _moved_right(found: re.Match[str]) -> str:
    shift = _CELL * found[5].count(";")
    x, length = float(found[1]) + shift, float(found[3]) - shift
    return f'x="{x:.1f}"{found[2]} textLength="{max(length, 0):.1f}"{found[4]}>'
