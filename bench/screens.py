"""Prints the screens of simulated machines at three widths, healthy and broken, so that a person looks at them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from gpuwatch.render.status_table import render_status
from gpuwatch.render.topo_table import render_topology
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


def main() -> int:
    """All of them, or those named on the command line."""
    wanted = [(machine, 1.0) for machine in sys.argv[1:]] or list(MACHINES)
    for machine, after_s in wanted:
        print(screens(machine, after_s), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
