"""The dashboard as a picture: a simulated machine on a given view and size, as SVG (and PNG where rsvg-convert is at hand).

python bench/look.py dgx-h100-8+hot@5 --view groups --size 120x40 --press j,j,enter --out /tmp/groups.svg
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.dashboard_picture import picture
from support.dashboard_screen import Scene


def main() -> None:
    """Write the picture and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument("--view", default="overview")
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--press", default="")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--out", default="look.svg")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    keys = tuple(filter(None, options.press.split(",")))
    scene = Scene("look", options.spec, options.view, keys, seconds=options.seconds)
    out = Path(options.out)
    out.write_text(asyncio.run(picture(scene, (int(width), int(height)), options.theme)), encoding="utf-8")
    if shutil.which("rsvg-convert"):
        png = out.with_suffix(".png")
        subprocess.run(["rsvg-convert", "-o", png, out], check=True)
        print(png)
    print(out)


if __name__ == "__main__":
    main()
