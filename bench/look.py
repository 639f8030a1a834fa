"""The dashboard as a picture: a simulated machine on a given view and size, as SVG (and PNG where rsvg-convert is at hand).

python bench/look.py dgx-h100-8+hot@5 --view groups --size 120x40 --press j,j,enter --out /tmp/groups.svg
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.dashboard_story import story

# Renderers other than browsers drop the spaces at the beginning of a text element: it is moved right instead.
_LEADING = re.compile(r'x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)')
_CELL = 12.2


def _moved_right(found: re.Match[str]) -> str:
    shift = _CELL * found[5].count(";")
    x, length = float(found[1]) + shift, float(found[3]) - shift
    return f'x="{x:.1f}"{found[2]} textLength="{max(length, 0):.1f}"{found[4]}>'


async def take(options: argparse.Namespace) -> str:
    """Open, press, and photograph."""
    width, _, height = options.size.partition("x")
    app = story(options.spec, options.seconds).app()
    async with app.run_test(size=(int(width), int(height))) as pilot:
        await pilot.pause()
        app.show_now()
        if options.theme:
            app.theme = f"gpuwatch-{options.theme}"
        if options.view:
            await app.action_show_view(options.view)
        for key in filter(None, options.press.split(",")):
            await pilot.press(key)
        await pilot.pause(0.2)
        return app.export_screenshot(title=f"gpuwatch {options.spec}")


def main() -> None:
    """Write the picture and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument("--view", default="")
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--press", default="")
    parser.add_argument("--theme", default="")
    parser.add_argument("--out", default="look.svg")
    options = parser.parse_args()
    out = Path(options.out)
    picture = _LEADING.sub(_moved_right, asyncio.run(take(options)))
    out.write_text(picture, encoding="utf-8")
    if shutil.which("rsvg-convert"):
        png = out.with_suffix(".png")
        subprocess.run(["rsvg-convert", "-o", png, out], check=True)
        print(png)
    print(out)


if __name__ == "__main__":
    main()
