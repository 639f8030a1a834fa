"""Every query of every dashboard, run by a real Prometheus that scrapes live nodes."""

import pytest

from gpuwatch_dashboards.catalogue import BOARDS
from gpuwatch_dashboards.panel import Panel, Query
from support.dashboard_fleet import LiveFleet

# The first test waits for the fleet to start; findings about a group take half a minute to be sure of.
pytestmark = pytest.mark.timeout(180)

_QUERIES = [
    pytest.param(panel, query, id=f"{board.name}: {panel.title} {chr(ord('A') + index)}")
    for board in BOARDS
    for panel in board.panels
    for index, query in enumerate(panel.queries)
]


@pytest.mark.parametrize(("panel", "query"), _QUERIES)
def test_a_query_returns_data_on_the_machine_it_is_for(fleet: LiveFleet, panel: Panel, query: Query) -> None:
    """With the variables as Grafana puts them in, the query finds series that the live agents really have."""
    assert fleet.samples(panel, query)
