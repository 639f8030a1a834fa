"""The README's pictures are what the program prints: each is drawn anew from a simulated machine and compared."""

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

from gpuwatch.cli import main
from gpuwatch.render.status_table import render_status
from gpuwatch.render.topo_table import render_topology
from support.simulated_node import read_simulated

README = Path(__file__).parents[1] / "README.md"
NOON = 1_795_176_000.0
PICTURE = re.compile(r"(<!-- picture: (\w+) (\d+) ([\w@+=~-]+) -->\n```text\n)(.*?)(```)", re.DOTALL)


def check(width: int, machine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `gpuwatch check --for 60` prints on a simulated machine whose minute ends at noon."""
    monkeypatch.setattr("gpuwatch.checking.time.time", lambda: NOON)
    monkeypatch.setattr("gpuwatch_agent.sampling.rig.node_name", lambda: "node07")
    monkeypatch.setenv("COLUMNS", str(width))
    told = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(told):
        main(["check", "--sim", machine, "--for", "60"])
        told.flush()
    # The figures for monitoring systems behind the bar are of no use to a reader.
    return re.sub(r" \| gpus=.*", "", told.buffer.getvalue().decode()).partition("\n\n  not judged")[0]


def draw(what: str, width: int, machine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if what == "check":
        return check(width, machine, monkeypatch)
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
        picture = "\n".join(line.rstrip() for line in draw(what, int(width), machine, monkeypatch).splitlines())
        return f"{head}{picture}\n{tail}"

    drawn = PICTURE.sub(redraw, text)
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        README.write_text(drawn)
    assert drawn == README.read_text(), "make golden draws them anew"
