"""The dashboards as files: in step with the program that writes them, and what Grafana takes."""

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuwatch_dashboards.assemble import ANNOTATION_WORDS, document, text
from gpuwatch_dashboards.catalogue import BOARDS
from gpuwatch_dashboards.panel import Board
from support.grafana_schema import faults

_FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
_BOARDS = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def _committed(board: Board) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads((_FOLDER / f"{board.name}.json").read_text(encoding="utf-8"))
    return decoded


@pytest.mark.golden
@_BOARDS
def test_the_committed_file_is_what_the_program_writes(board: Board) -> None:
    """Nobody has edited the JSON by hand or forgotten `make dashboards`."""
    path = _FOLDER / f"{board.name}.json"
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        path.write_text(text(board), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text(board)


def test_no_file_is_left_of_a_dashboard_that_is_gone() -> None:
    """The folder that Grafana is given holds the catalogue and nothing else."""
    assert {path.name for path in _FOLDER.iterdir()} == {f"{board.name}.json" for board in BOARDS}


@_BOARDS
def test_a_dashboard_follows_grafanas_schema(board: Board) -> None:
    """Every key, type and choice of the committed JSON is one that Grafana's own generated types know."""
    dashboard = _committed(board)
    for word in ANNOTATION_WORDS:
        # The Prometheus data source reads these; the common schema leaves them to it.
        del dashboard["annotations"]["list"][0][word]
    assert faults(dashboard) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.update(colour="red"), "has no 'colour'"),
        (lambda d: d.update(graphTooltip=7), "is no DashboardCursorSync"),
        (lambda d: d["panels"][1].update(type="graph"), "there is no panel 'graph'"),
        (lambda d: d["panels"][1]["options"].update(colorMode="loud"), "is no BigValueColorMode"),
        (lambda d: d["panels"][1]["gridPos"].update(w="wide"), "is no int"),
        (lambda d: d["panels"][1]["targets"][0].update(expression="up"), "has no 'expression'"),
    ],
)
def test_the_schema_check_sees_what_is_wrong(spoil: Any, said: str) -> None:
    """A key, a choice, a type or an Angular panel that Grafana does not know is named, so that silence means something."""
    dashboard = copy.deepcopy(document(BOARDS[0]))
    for word in ANNOTATION_WORDS:
        del dashboard["annotations"]["list"][0][word]
    spoil(dashboard)
    assert [fault for fault in faults(dashboard) if said in fault]


@_BOARDS
def test_panels_fill_the_grid_without_overlap(board: Board) -> None:
    """No panel lies over another or sticks out of Grafana's 24 columns; ids are told apart."""
    taken: set[tuple[int, int]] = set()
    panels = _committed(board)["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@_BOARDS
def test_every_variable_in_use_is_declared(board: Board) -> None:
    """A query or link with a variable that the dashboard lacks would be sent with the dollar sign in it."""
    dashboard = _committed(board)
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard["panels"] + dashboard["annotations"]["list"])))
    assert used - declared == set()
    assert declared - used - {"datasource"} == set()


@_BOARDS
def test_series_are_told_apart_by_their_node(board: Board) -> None:
    """A legend that names a GPU names its machine as well: "GPU 3" alone exists on every node."""
    legends = [query.legend for panel in board.panels for query in panel.queries if "{{gpu}}" in query.legend]
    assert [legend for legend in legends if "{{instance}}" not in legend] == []


def _links(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        for inner in value.values():
            yield from _links(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _links(inner)


@_BOARDS
def test_links_lead_to_dashboards_that_are_there(board: Board) -> None:
    """Every link to a dashboard names one of these, with variables that it has; the rest lead to runbooks."""
    variables = {other.uid: {variable.name for variable in other.variables} for other in BOARDS}
    for url in _links(_committed(board)):
        if url.endswith("/${__data.fields.kind}"):
            continue
        found = re.match(r"/d/([\w-]+)\?", url)
        assert found, url
        assert set(re.findall(r"var-(\w+)=", url)) <= variables[found[1]]


def test_kinds_of_findings_in_queries_are_the_agents() -> None:
    """A panel that asks for a kind that no detector gives would stay empty for ever; every kind has a runbook."""
    known = {path.stem for path in (_FOLDER.parents[1] / "docs" / "runbooks").iterdir()}
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                for kinds in re.findall(r'kind=~?"([\w|]+)"', query.expr):
                    assert set(kinds.split("|")) <= known, panel.title


@_BOARDS
def test_units_and_words_are_there(board: Board) -> None:
    """Every panel says its unit, what it shows, and has a title that its dashboard has once in its row."""
    for row in board.rows:
        assert len({panel.title for panel in row.panels}) == len(row.panels)
    for panel in board.panels:
        assert panel.look.defaults.unit
        assert panel.about.endswith((".", "?"))
