"""The README's pictures are what the program prints: each is drawn anew from a simulated machine and compared."""

import os
import re
from pathlib import Path

import pytest

from gpuwatch.render.status_table import render_status
from gpuwatch.render.topo_table import render_topology
from support.simulated_node import read_simulated

README = Path(__file__).parents[1] / "README.md"
PICTURE = re.compile(r"(<!-- picture: (\w+) (\d+) ([\w@+-]+) -->\n```text\n)(.*?)(```)", re.DOTALL)


def draw(what: str, width: int, machine: str) -> str:
    frame, topology = read_simulated(machine)
    if what == "topo":
        return render_topology(topology, width=width, colour=False, unicode=True)
    return render_status(frame, width=width, colour=False, unicode=True, processes=4)


@pytest.mark.golden
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
