"""docs/grafana.md: the table of all queries, with what they returned when it was last written."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuwatch_dashboards.catalogue import BOARDS
from gpuwatch_dashboards.panel import Board, Panel, Query
from gpuwatch_dashboards.promql import GPUS, NODES, WORK
from gpuwatch_dashboards.scenarios import NAMES
from support.dashboard_fleet import live_fleet
from support.prometheus_server import Sample

_PAGE = Path(__file__).parents[2] / "docs" / "grafana.md"
_MARK = "<!-- Written by `make golden` from grafana/gpuwatch_dashboards and a live Prometheus. -->\n"


def _row(panel: Panel, query: Query, returned: str) -> str:
    expression = query.expr
    for whole, short in ((WORK, "{$work}"), (GPUS, "$gpus"), (NODES, "$nodes")):
        expression = expression.replace(whole, short)
    expression = re.sub(r"\s+", " ", expression).replace("|", "\\|")
    return f"| {panel.title} | `{expression}` | {NAMES[panel.scenario_of(query)]} | {returned} |"


def _table(board: Board, returned: Callable[[Panel, Query], str]) -> Iterator[str]:
    yield from (f"### {board.title.removeprefix('gpuwatch / ')}", "", board.about, "")
    yield from ("| panel | query | on | returned |", "| --- | --- | --- | --- |")
    for panel in board.panels:
        for query in panel.queries:
            yield _row(panel, query, returned(panel, query))
    yield ""


def _tables(returned: Callable[[Panel, Query], str]) -> str:
    machines = [f"- *{name}*: `{machine}`" for machine, name in NAMES.items()]
    return "\n".join(["", *machines, "", *(line for board in BOARDS for line in _table(board, returned))])


def _in_words(samples: list[Sample]) -> str:
    values = sorted(sample.value for sample in samples)
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{len(values)} series: {values[0]:.4g} to {values[-1]:.4g}"


def _measured(directory: Path) -> str:
    with live_fleet(directory) as fleet:
        # The last finding to be sure of: before it, the page would show a fleet that is still waking up.
        fleet.prometheus.wait_until('gpuwatch_finding{kind="pcie_degraded"}', within_s=90)
        return _tables(lambda panel, query: _in_words(fleet.samples(panel, query)))


@pytest.mark.golden
@pytest.mark.timeout(180)
def test_the_page_has_every_query(tmp_path: Path) -> None:
    """The table names all panels and queries as they are now, and none came back without a value."""
    page = _PAGE.read_text(encoding="utf-8")
    prose, _, tables = page.partition(_MARK)
    # Values differ from run to run: that there was one is all that is compared, and alone they are no reason to write.
    measured = re.compile(r"\| (\d+ series: )?-?\d[\d.e+-]*( to -?\d[\d.e+-]*)? \|$", re.MULTILINE)
    wanted = _tables(lambda *_: "measured")
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN") and measured.sub("| measured |", tables) != wanted:
        tables = _measured(tmp_path)
        _PAGE.write_text(prose + _MARK + tables, encoding="utf-8")
    assert measured.sub("| measured |", tables) == wanted
