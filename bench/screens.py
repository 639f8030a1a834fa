"""Prints what the commands show at three widths, healthy and broken, and draws the dashboard's screens into .bench/screens."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gpuwatch.render.status_table import render_status
from gpuwatch.render.topo_table import render_topology
from support.dashboard_picture import picture
from support.dashboard_screen import SCENES
from support.simulated_node import read_simulated

WIDTHS = (80, 120, 200)
# The second number: how many seconds after the first reading the picture is taken.
MACHINES = (
    ("dgx-h100-8", 1.0),
    ("dgx-h100-8+hot@5", 1.0),
    ("dgx-h100-8+nvlink-down@2", 1.0),
    ("dgx-h100-8+lost@6~5", 60.0),
    ("dgx-h100-8+hang@3~5", 8.0),
    ("h100-mig", 1.0),
    ("2x4090", 1.0),
    ("l4", 1.0),
    ("none", 1.0),
)


def screens(machine: str, after_s: float) -> str:
    """`status` and `topo` of one machine at all widths, each under a line that says what it is."""
    frame, topology = read_simulated(machine, after_s=after_s)
    parts: list[str] = []
    for width in WIDTHS:
        status = render_status(frame, width=width, colour=False, unicode=True, processes=4)
        topo = render_topology(topology, width=width, colour=False, unicode=True)
        parts += [_heading(f"status --sim {machine}", width), status, _heading(f"topo --sim {machine}", width), topo]
    return "\n".join(parts)


def _heading(command: str, width: int) -> str:
    return f"=== gpuwatch {command} · {width} columns ".ljust(width, "=")


def draw_dashboard(folder: Path) -> int:
    """Every scene of the golden files as SVG, in a dark and a light theme; gives how many."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for scene in SCENES:
        for size in scene.sizes:
            for theme in ("dark", "light"):
                name = f"{scene.name}_{size[0]}x{size[1]}_{theme}.svg"
                (folder / name).write_text(asyncio.run(picture(scene, size, theme)), encoding="utf-8")
                drawn += 1
    return drawn


def main() -> int:
    """All of them, or those named on the command line."""
    wanted = [(machine, 1.0) for machine in sys.argv[1:]] or list(MACHINES)
    for machine, after_s in wanted:
        print(screens(machine, after_s), flush=True)
    if not sys.argv[1:]:
        folder = Path(__file__).resolve().parent.parent / ".bench" / "screens"
        print(f"{draw_dashboard(folder)} pictures of the dashboard are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
