from collections.abc import Iterator

import pytest

from support.dashboard_fleet import LiveFleet, live_fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFleet]:
    """One fleet and one Prometheus for all tests of the dashboards: starting them costs seconds."""
    with live_fleet(tmp_path_factory.mktemp("fleet")) as alive:
        yield alive
