"""The dashboards on live nodes and a real Prometheus: every query returns data, and what is said is true."""

from collections.abc import Iterator

import pytest

from gpuwatch_dashboards.assemble import document
from gpuwatch_dashboards.catalogue import BOARDS
from gpuwatch_dashboards.fleet import FLEET
from gpuwatch_dashboards.health import HEALTH
from gpuwatch_dashboards.panel import Board, Panel, Query
from gpuwatch_dashboards.scenarios import GONE, HEALTHY, HOT, IDLE, SICK, SILENT, SLURM
from gpuwatch_dashboards.tensor_parallel import TENSOR_PARALLEL
from support.dashboard_fleet import INSTANCES, LiveFleet, live_fleet, substituted
from support.prometheus_server import Sample

# The first test waits for the fleet to start; findings about a group take half a minute to be sure of.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFleet]:
    """One fleet and one Prometheus for all of these tests: starting them costs seconds, and no other test shall pay for them."""
    with live_fleet(tmp_path_factory.mktemp("fleet")) as alive:
        yield alive


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


def _panel(board: Board, title: str) -> Panel:
    return next(panel for panel in board.panels if panel.title == title)


def _expression(board: Board, title: str, **chosen: str) -> str:
    return substituted(_panel(board, title).queries[0].expr, **chosen)


def _by_gpu(samples: list[Sample]) -> dict[str, float]:
    return {sample.labels["gpu"]: sample.value for sample in samples}


def test_every_gpu_has_one_cell_in_the_colour_of_its_worst(fleet: LiveFleet) -> None:
    """One GPU lost, one stale, the others well: five, four and zero, and nothing twice."""
    expected = {"3": 5.0, "1": 4.0} | dict.fromkeys("024567", 0.0)
    samples = fleet.prometheus.wait_until(
        _expression(FLEET, "State of every GPU", node=INSTANCES[GONE]), lambda got: _by_gpu(got) == expected
    )
    assert len(samples) == 8


def test_a_healthy_node_has_only_good_cells(fleet: LiveFleet) -> None:
    """Nothing is coloured on a node that has no finding."""
    samples = fleet.prometheus.wait_until(_expression(FLEET, "State of every GPU", node=INSTANCES[HEALTHY]))
    assert _by_gpu(samples) == dict.fromkeys("01234567", 0.0)


def test_all_nodes_have_cells_with_and_without_a_cluster(fleet: LiveFleet) -> None:
    """Sites with one cluster have no such label; choosing one leaves the others' nodes out."""
    title = "State of every GPU"
    fleet.prometheus.wait_until(
        _expression(FLEET, title),
        lambda got: {one.labels["instance"] for one in got} == set(INSTANCES.values()) - {INSTANCES[SILENT]},
    )
    in_lab = fleet.prometheus.query(_expression(FLEET, title, cluster="lab"))
    assert {one.labels["instance"] for one in in_lab} == {INSTANCES[HEALTHY], INSTANCES[SLURM]}


def test_a_node_that_does_not_answer_is_counted(fleet: LiveFleet) -> None:
    """One of the fleet's agents is down: that one is silent, and the others are not."""
    others = len(INSTANCES) - 1
    fleet.prometheus.wait_until(_expression(FLEET, "Nodes"), lambda got: [one.value for one in got] == [others])
    assert [one.value for one in fleet.prometheus.query(_expression(FLEET, "Nodes silent"))] == [1]


def test_a_slurm_job_leaves_only_its_gpus(fleet: LiveFleet) -> None:
    """The choice of a job reaches the cells by the GPUs that it works on."""
    samples = fleet.prometheus.wait_until(_expression(FLEET, "Work of every GPU", slurm_job="417733"))
    assert {one.labels["instance"] for one in samples} == {INSTANCES[SLURM]}
    assert len(samples) == 8


def test_a_pod_leaves_only_its_gpus(fleet: LiveFleet) -> None:
    """Two pods share the machine, four GPUs each: choosing one leaves its four."""
    at_first = f'gpuwatch_gpu_job_info{{instance="{INSTANCES[IDLE]}", gpu="0"}}'
    pod = fleet.prometheus.wait_until(at_first)[0].labels["pod"]
    chosen = _expression(FLEET, "State of every GPU", pod=pod)
    assert set(_by_gpu(fleet.prometheus.query(chosen))) == set("0123")


def test_the_seven_others_wait_for_the_hot_rank(fleet: LiveFleet) -> None:
    """The rank that holds the group up is named as the one that each of the others waits for, and waits for nobody."""
    samples = fleet.prometheus.wait_until(
        _expression(TENSOR_PARALLEL, "Who waits for whom", node=INSTANCES[HOT]), within_s=60
    )
    assert {one.labels["gpu"] for one in samples} == set("01234567") - {"5"}
    assert {one.labels["waits_for_gpu"] for one in samples} == {"5"}


def test_nobody_waits_in_a_healthy_group(fleet: LiveFleet) -> None:
    """Where no finding names a rank the table is empty, whatever small differences there are."""
    fleet.prometheus.wait_until(_expression(TENSOR_PARALLEL, "Ranks", node=INSTANCES[HEALTHY]))
    assert not fleet.prometheus.query(_expression(TENSOR_PARALLEL, "Who waits for whom", node=INSTANCES[HEALTHY]))


def test_tokens_come_from_the_groups_own_machine(fleet: LiveFleet) -> None:
    """VLLM listens on another port: it is found by the host, and only where the group runs."""
    samples = fleet.prometheus.wait_until(_expression(TENSOR_PARALLEL, "Tokens a second", node=INSTANCES[HEALTHY]))
    assert [one.labels["host"] for one in samples] == ["healthy"]
    assert not fleet.prometheus.query(_expression(TENSOR_PARALLEL, "Tokens a second", node=INSTANCES[HOT]))


def test_throttled_seconds_are_no_more_than_have_passed(fleet: LiveFleet) -> None:
    """Reasons that run at once are not added up: ten seconds of throttling are not twenty."""
    title = "Seconds held down by heat or the power brake"
    samples = fleet.prometheus.wait_until(_expression(FLEET, title, node=INSTANCES[HOT], __range="10s"))
    assert [one.labels["gpu"] for one in samples] == ["5"]
    # Prometheus extrapolates to the ends of the range.
    assert samples[0].value <= 12


def test_health_names_what_is_broken(fleet: LiveFleet) -> None:
    """The link, the lane and the board that the scenario broke, and none besides."""
    node = INSTANCES[SICK]

    def gpus(title: str) -> set[str]:
        samples = fleet.prometheus.wait_until(_expression(HEALTH, title, node=node), within_s=60)
        return {one.labels["gpu"] for one in samples}

    assert "2" in gpus("NVLinks down over time")
    assert gpus("PCIe link below its best") == {"1"}
    assert gpus("NVLink errors") == {"3"}
    assert "4" in gpus("Recovery action")
    assert gpus("Xids seen") >= {"6", "7"}


_VARIABLES = [
    pytest.param(board, variable.name, id=f"{board.name}: {variable.name}")
    for board in BOARDS
    for variable in board.variables
    if variable.name not in {"datasource", "price", "runbooks", "cell"}
]


@pytest.mark.parametrize(("board", "name"), _VARIABLES)
def test_a_variable_finds_something_to_choose(fleet: LiveFleet, board: Board, name: str) -> None:
    """The label that a variable lists has values on the live nodes."""
    variable = next(one for one in document(board)["templating"]["list"] if one["name"] == name)
    series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    samples = fleet.prometheus.wait_until(f"count by ({label}) ({substituted(series)})", within_s=60)
    assert [one for one in samples if one.labels.get(label)]


def test_findings_become_annotations_at_the_time_they_began(fleet: LiveFleet) -> None:
    """The annotation's value is its time in milliseconds, which is what Grafana takes for one."""
    expression = substituted(document(FLEET)["annotations"]["list"][0]["expr"], node=INSTANCES[GONE])
    began = fleet.prometheus.wait_until(expression)
    now = fleet.prometheus.query("time()")[0].value * 1000
    assert all(now - 600_000 < one.value <= now + 1000 for one in began)
