"""A real Prometheus on an agent that speaks DCGM's names: what people ask of dcgm-exporter is answered."""

import os
from collections.abc import Iterator

import pytest

from support.dcgm_queries import ASKED, DASHBOARD, FIRING
from support.prometheus_server import Prometheus, prometheus, scraping
from support.running_agent import RunningAgent, all_fresh, running_agent

FAULTS = "+".join(sorted({fault for fault, _ in FIRING.values()}))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """Eight simulated H100, seven with a fault, under DCGM's names; nobody's own settings matter."""
    home = tmp_path_factory.mktemp("home")
    env = {name: value for name, value in os.environ.items() if not name.startswith("GPUWATCH_")}
    env |= {"XDG_CONFIG_HOME": str(home), "GPUWATCH_SAMPLING_SLOW_S": "1", "GPUWATCH_DCGM_HOST_LABEL": "both"}
    # On a busy machine, too, all GPUs have values in each scrape.
    env |= {"GPUWATCH_SAMPLING_STALE_AFTER_S": "30"}
    machine = f"dgx-h100-8+{FAULTS}"
    with running_agent(env, "--sim", machine, "--dcgm-compat", log=home / "agent.log") as running:
        running.frame_where(all_fresh())
        yield running


@pytest.fixture(scope="module")
def server(agent: RunningAgent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scrapes that agent twice a second."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), scraping(agent.url, job="dcgm")) as running:
        running.wait_until("count_over_time(DCGM_FI_PROF_PIPE_TENSOR_ACTIVE[1m]) >= 3", lambda rows: len(rows) >= 7)
        yield running


@pytest.mark.parametrize("query", [*DASHBOARD, *ASKED])
def test_every_query_of_the_dashboard_and_of_rules_has_data(server: Prometheus, query: str) -> None:
    """Panels are not empty and thresholds have something to be compared with."""
    assert server.wait_until(query)


@pytest.mark.parametrize(("rule", "gpu"), [(rule, gpu) for rule, (_, gpu) in FIRING.items()])
def test_rules_for_dcgm_find_the_gpu_with_the_fault(server: Prometheus, rule: str, gpu: str) -> None:
    """What fires names the GPU that the fault was put on, and no other."""
    rows = server.wait_until(rule)
    assert {row.labels["gpu"] for row in rows} == {gpu}


def test_types_and_help_reach_prometheus(server: Prometheus) -> None:
    """Counters are counters there, so that the editor does not warn of `rate()`."""
    known = server.get("/api/v1/metadata")["data"]
    assert known["DCGM_FI_DEV_PCIE_REPLAY_COUNTER"][0]["type"] == "counter"
    assert known["DCGM_FI_DEV_GPU_TEMP"][0] == {"type": "gauge", "help": "GPU temperature (in C).", "unit": ""}


def test_our_own_names_are_still_there(agent: RunningAgent) -> None:
    """`?format=native` gives them beside the others, and an unknown format says which there are."""
    agent.frame_where(all_fresh())
    assert "gpuwatch_gpu_temperature_celsius{" in agent.get("/metrics?format=native").text
    assert "DCGM_FI_DEV_GPU_TEMP{" in agent.get("/metrics?format=dcgm").text
    plain = agent.get("/metrics")
    assert "DCGM_FI_DEV_GPU_TEMP{" in plain.text
    assert "gpuwatch_" not in plain.text
    refused = agent.get("/metrics?format=dgcm")
    assert refused.status_code == 400
    assert "native, dcgm" in refused.json()["action"]


def test_a_scrape_can_be_cut_down_to_dcgms_default_set(agent: RunningAgent) -> None:
    """`collect[]` chooses here as well."""
    agent.frame_where(all_fresh())
    names = {line.split("{")[0] for line in agent.get("/metrics?collect[]=default").text.splitlines()}
    assert "DCGM_FI_DEV_GPU_TEMP" in names
    assert "DCGM_FI_PROF_SM_ACTIVE" not in names
