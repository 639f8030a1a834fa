"""A picture of the screen as a file."""

import shutil
import subprocess
from pathlib import Path

_LONGEST_S = 20


def save_picture(svg: str, name: str) -> str:
    """Write NAME.svg here, and NAME.png where a program that draws SVG is at hand; gives the names in words."""
    path = Path(f"{name}.svg")
    path.write_text(svg, encoding="utf-8")
    painter = shutil.which("rsvg-convert")
    if painter is not None:
        done = subprocess.run(
            [painter, "-o", f"{name}.png", path], check=False, capture_output=True, timeout=_LONGEST_S
        )
        if done.returncode == 0:
            return f"{path} and {name}.png"
    return str(path)
