"""The README's pictures are what the program prints: each is drawn anew from a simulated machine and compared."""

import os
import re
from pathlib import Path

import pytest
from msgspec import structs

from gpuwatch.render.status_table import render_status
from gpuwatch.render.topo_table import render_topology
from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

README = Path(__file__).parents[1] / "README.md"
NOON = 1_795_176_000.0
PICTURE = re.compile(r"(<!-- picture: (\w+) (\d+) ([\w@+-]+) -->\n```text\n)(.*?)(```)", re.DOTALL)


def read(machine: str) -> tuple[Frame, Topology]:
    """One reading of a simulated machine at a fixed moment, as on a node called node07."""
    now = NOON

    def clock() -> float:
        return now

    # Long enough for a fault to show: counters need their second reading.
    rig = Rig(SimulatedHardware(machine, clock=clock), Config(), clock=clock, wall_clock=clock)
    rig.open()
    rig.read(tuple(Tier))
    now += 1
    frame = structs.replace(rig.read(tuple(Tier)), node="node07", host=None)
    placements = rig.placements()
    rig.close()
    topology = build_topology(frame.gpus, placements, node="node07", taken_at=now, simulated=True)
    return frame, topology


def draw(what: str, width: int, machine: str) -> str:
    frame, topology = read(machine)
    if what == "topo":
        return render_topology(topology, width=width, colour=False, unicode=True)
    return render_status(frame, width=width, colour=False, unicode=True, processes=4)


def test_pictures_in_the_readme_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture in the README is what the program draws today."""
    monkeypatch.setenv("TZ", "UTC")
    text = README.read_text()
    assert len(PICTURE.findall(text)) >= 4

    def redraw(found: re.Match[str]) -> str:
        head, what, width, machine, _, tail = found.groups()
        picture = "\n".join(line.rstrip() for line in draw(what, int(width), machine).splitlines())
        return f"{head}{picture}\n{tail}"

    drawn = PICTURE.sub(redraw, text)
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        README.write_text(drawn)
    assert drawn == README.read_text(), "make golden draws them anew"
