"""From a simulated fault through a live agent, a real Prometheus and a real Alertmanager to who is told, and back."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.alert_rules import alerts, recorded
from support.alert_site import HURRY, Site, hurried, site_of_alerts
from support.running_agent import running_agent

# One site for all, so it runs as long as its slowest story.
pytestmark = pytest.mark.timeout(180)

# Which node has the trouble that each alert is for, and which of its GPUs.
SCENARIOS = {
    "GpuThermalThrottle": ("heat", "5"),
    "GpuThermalThrottleSevere": ("heat", "5"),
    "GpuPowerBrake": ("faults", "0"),
    "GpuHardwareSlowdown": ("page", "0"),
    "GpuPowerThrottle": ("uneven", "1"),
    "GpuPowerLimitLowered": ("uneven", "1"),
    "NodePowerOverBudget": ("heat", None),
    "GpuTemperatureHigh": ("heat", "5"),
    "GpuTemperatureNearShutdown": ("page", "0"),
    "GpuFanFailure": ("workshop", "0"),
    "GpuGroupImbalance": ("rank", "1"),
    "GpuGroupImbalanceSevere": ("faults", "0"),
    "GpuGroupStalled": ("stalled", "3"),
    "GpuMemoryImbalance": ("uneven", "4"),
    "GpuNoisyNeighbour": ("workshop", "3"),
    "GpuPlacementSlow": ("page", "0"),
    "GpuNvlinkDown": ("faults", "1"),
    "GpuNvlinkErrors": ("faults", "3"),
    "GpuFabricError": ("faults", "2"),
    "GpuFabricUnhealthy": ("faults", "2"),
    "GpuPcieDegraded": ("workshop", "1"),
    "GpuPcieErrors": ("faults", "4"),
    "GpuXidCritical": ("loss", "0"),
    "GpuXid": ("heat", "0"),
    "GpuXidApplicationRepeats": ("page", "0"),
    "GpuRecoveryAction": ("faults", "6"),
    "GpuEccUncorrected": ("faults", "1"),
    "GpuEccCorrectedStorm": ("faults", "5"),
    "GpuRowRemapFailed": ("faults", "7"),
    "GpuRowRemapPending": ("faults", "6"),
    "GpuLost": ("loss", "1"),
    "NodeGpuMissing": ("page", None),
    "GpuStale": ("uneven", "7"),
    "GpuIdleAllocation": ("idle", "0"),
    "GpuwatchAgentDown": ("down", None),
    "GpuwatchDriverUnusable": ("no-driver", None),
    "GpuwatchFramesOld": ("page", None),
    "GpuwatchAgentSlow": ("page", None),
    "GpuwatchSamplerRestarts": ("page", None),
    "GpuwatchCollectorFailing": ("page", None),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests of this module; the agent of one node ends as soon as it was seen."""
    with site_of_alerts(tmp_path_factory.mktemp("site")) as whole:
        down = whole.instance("down")
        whole.prometheus.wait_until(f'up{{instance="{down}"}} == 1')
        whole.nodes["down"].end()
        yield whole


def selector(site: Site, name: str) -> str:
    node, gpu = SCENARIOS[name]
    instance = site.pages if node == "page" else site.instance(node)
    return f'alertname="{name}",instance="{instance}"' + (f',gpu="{gpu}"' if gpu is not None else "")


def wait_for_message(site: Site, status: str, **labels: str) -> dict[str, Any]:
    """The first alert of that status and those labels that reached the receiver."""
    deadline = time.monotonic() + 90
    seen = 0
    while time.monotonic() < deadline:
        seen += 1
        for alert in site.receiver.messages(seen)[seen - 1]["alerts"]:
            if alert["status"] == status and labels.items() <= alert["labels"].items():
                found: dict[str, Any] = alert
                return found
    raise AssertionError(f"nobody was told that {labels} is {status}")


def test_every_alert_has_a_scenario() -> None:
    """A new alert is tried against the real server, or this fails; absence is asked for below."""
    assert set(SCENARIOS) == {alert.name for alert in alerts()} - {"GpuwatchAbsent"}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_the_alert_fires_on_the_trouble_it_is_for(site: Site, name: str) -> None:
    """The shipped expression returns data for a live agent's series, or for a page such as an agent would give."""
    fired = f'max_over_time(ALERTS{{{selector(site, name)},alertstate="firing"}}[5m])'
    (sample, *_) = site.prometheus.wait_until(fired, within_s=90)
    (shipped,) = [alert for alert in alerts() if alert.name == name]
    assert sample.labels["severity"] == shipped.labels["severity"]


def test_every_rule_is_evaluated_without_error(site: Site) -> None:
    """Real series meet no ambiguous match, neither in alerts nor in recording rules."""
    site.prometheus.wait_until("gpuwatch:node_gpus:count")
    rules = site.prometheus.rules()
    assert {rule["name"] for rule in rules} >= {alert.name for alert in alerts()} | set(recorded())
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}


def test_what_is_recorded_has_data_for_a_healthy_node(site: Site) -> None:
    """Dashboards and alerts find something under each recorded name."""
    for name in recorded():
        site.prometheus.wait_until(f'{name}{{instance="{site.instance("healthy")}"}}')


def test_a_healthy_node_has_no_alert_pending_or_firing(site: Site) -> None:
    """Eight busy H100, with windows of seconds and half a minute of life, start-up included."""
    healthy = site.instance("healthy")
    site.prometheus.wait_until(f'count_over_time(up{{instance="{healthy}"}}[5m]) > 30', within_s=90)
    assert site.prometheus.query(f'max_over_time(ALERTS{{instance="{healthy}"}}[5m])') == []


def test_the_absence_of_all_agents_is_noticed(site: Site) -> None:
    """Asked for a job that has no target, the shipped expression holds; for ours it does not."""
    (absent,) = [alert.expression for alert in alerts() if alert.name == "GpuwatchAbsent"]
    site.prometheus.wait_until('up{job="gpuwatch"}')
    assert site.prometheus.query(absent) == []
    assert site.prometheus.query(absent.replace("gpuwatch", "nobody"))


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("GpuThermalThrottleSevere", {}),
        ("GpuGroupImbalance", {}),
        ("GpuLost", {}),
        ("GpuXid", {"xid": "145"}),
        ("GpuXidCritical", {"xid": "79", "gpu": "0"}),
    ],
)
def test_somebody_is_told_of_the_fault_and_of_its_end(site: Site, name: str, extra: dict[str, str]) -> None:
    """The fault begins and ends in the agent alone; the message names host, GPU and what to do."""
    node, gpu = SCENARIOS[name]
    labels = {"alertname": name, "instance": site.instance(node), "gpu": str(gpu), **extra}
    fired = wait_for_message(site, "firing", **labels)
    assert site.instance(node) in fired["annotations"]["summary"]
    assert f"GPU {gpu}" in fired["annotations"]["summary"]
    assert fired["annotations"]["runbook_url"].startswith(f"http://{site.instance(node)}/v1/runbooks/")
    wait_for_message(site, "resolved", **labels)


def test_an_agent_that_is_down_is_told_until_it_is_back(site: Site) -> None:
    """The agent's process is ended and, once somebody was told, started anew on the same port."""
    down = site.instance("down")
    fired = wait_for_message(site, "firing", alertname="GpuwatchAgentDown", instance=down)
    assert down in fired["annotations"]["summary"]
    log = site.nodes["down"].log.with_suffix(".second.log")
    with running_agent(os.environ, "--sim", "l4", "--listen", down, log=log):
        wait_for_message(site, "resolved", alertname="GpuwatchAgentDown", instance=down)


def test_messages_have_no_holes(site: Site) -> None:
    """Whatever was told by now: no template failed, and the runbook's address is one that the agent answers."""
    wait_for_message(site, "firing", alertname="GpuPowerBrake", instance=site.instance("faults"))
    told = [alert for message in site.receiver.messages(1) for alert in message["alerts"]]
    fields = [text for alert in told for text in alert["annotations"].values()]
    assert fields
    assert not [text for text in fields if "<no value>" in text or "<error" in text or "{{" in text]
    page = site.nodes["faults"].get("/v1/runbooks/power_brake")
    assert page.status_code == 200


def test_the_effect_is_kept_quiet_while_its_cause_is_told(site: Site) -> None:
    """The hot GPU is late and its alert fires in Prometheus; up to the end of the heat only the heat is told."""
    heat = site.instance("heat")
    site.prometheus.wait_until(
        f'max_over_time(ALERTS{{alertname="GpuGroupImbalance",instance="{heat}"}}[5m])', within_s=90
    )
    wait_for_message(site, "resolved", alertname="GpuThermalThrottleSevere", instance=heat)
    told: list[tuple[str, str]] = []
    for message in site.receiver.messages(1):
        told += [
            (one["labels"]["alertname"], one["status"])
            for one in message["alerts"]
            if one["labels"].get("instance") == heat
        ]
    assert ("GpuGroupImbalance", "firing") not in told[: told.index(("GpuThermalThrottleSevere", "resolved"))]


def test_the_hurried_copy_differs_from_the_rules_in_durations_alone() -> None:
    """What is tried here is what is shipped."""
    expression = "rate(a[5m]) > 0.05"
    quick = hurried({"groups": [{"name": "g", "rules": [{"alert": "A", "expr": expression, "for": "5m"}]}]})
    assert quick["groups"][0]["rules"] == [{"alert": "A", "expr": "rate(a[6s]) > 0.05", "for": "1s"}]
    assert {window for alert in alerts() for window in HURRY if window in alert.expression} == set(HURRY)
