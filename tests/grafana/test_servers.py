"""What is mounted, provisioned and scraped: every file that is named is there, and Prometheus takes every configuration."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuwatch_dashboards.catalogue import BOARDS
from support.programs import needs
from support.prometheus_server import alertmanager, prometheus
from support.running_agent import running_agent

_GRAFANA = Path(__file__).parents[2] / "grafana"
_EXAMPLES = _GRAFANA / "prometheus" / "examples"
_CONFIGS = [_GRAFANA / "prometheus" / "prometheus.yml", *sorted(_EXAMPLES.glob("*.yml"))]
_COMPOSE = yaml.safe_load((_GRAFANA / "compose.yaml").read_text(encoding="utf-8"))


def _mounts(service: str) -> dict[str, Path]:
    """Places in the container, and the files or folders of the checkout that are seen there."""
    pairs = (volume.split(":") for volume in _COMPOSE["services"][service]["volumes"])
    return {inside: _GRAFANA / outside for outside, inside, *_ in pairs if outside.startswith(".")}


def _inside(service: str, path: str) -> Path:
    """What the container sees at this path."""
    for inside, outside in _mounts(service).items():
        if path == inside or path.startswith(f"{inside}/"):
            return outside / path.removeprefix(inside).lstrip("/")
    raise AssertionError(f"{service} has nothing at {path}")


@pytest.mark.parametrize("service", _COMPOSE["services"])
def test_everything_that_is_mounted_is_there(service: str) -> None:
    """Docker would make an empty folder in place of a missing file, read-only mounts keep the checkout as it is."""
    assert _mounts(service)
    assert [str(path) for path in _mounts(service).values() if not path.exists()] == []
    bound = [volume for volume in _COMPOSE["services"][service]["volumes"] if volume.startswith(".")]
    assert all(volume.endswith(":ro") for volume in bound)
    named = {volume.split(":")[0] for volume in _COMPOSE["services"][service]["volumes"]} - {
        volume.split(":")[0] for volume in bound
    }
    assert named <= set(_COMPOSE["volumes"])


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_a_server_is_started_with_a_file_that_it_sees(service: str) -> None:
    """The configuration named on the command line is one of the mounted files."""
    flag = next(flag for flag in _COMPOSE["services"][service]["command"] if flag.startswith("--config.file="))
    assert _inside(service, flag.partition("=")[2]).is_file()


def test_nothing_listens_off_loopback() -> None:
    """The three share the host's network and have no login: each is told to listen on loopback."""
    services = _COMPOSE["services"]
    for name in ("prometheus", "alertmanager"):
        assert any(flag.startswith("--web.listen-address=127.0.0.1:") for flag in services[name]["command"])
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    """Provisioned folder, home dashboard and data source lead to what compose mounts and starts."""
    provider = yaml.safe_load((_GRAFANA / "provisioning/dashboards/gpuwatch.yaml").read_text())["providers"][0]
    found = {path.name for path in _inside("grafana", provider["options"]["path"]).glob("*.json")}
    assert found == {f"{board.name}.json" for board in BOARDS}
    home = _COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert _inside("grafana", home).is_file()
    source = yaml.safe_load((_GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["type"] == "prometheus"
    listens = next(flag for flag in _COMPOSE["services"]["prometheus"]["command"] if "listen-address" in flag)
    assert source["url"].rpartition(":")[2] == listens.rpartition(":")[2]
    config = yaml.safe_load(_CONFIGS[0].read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda path: path.name)
def test_prometheus_takes_the_configuration(config: Path, tmp_path: Path) -> None:
    """Nothing is said against it, rules and files of targets included, and the job is the one that rules look for."""
    needs("promtool")
    document = yaml.safe_load(config.read_text())
    assert [job["job_name"] for job in document["scrape_configs"]] == ["gpuwatch"]
    if document["scrape_configs"][0].pop("kubernetes_sd_configs", None):
        # Debian builds its Prometheus without Kubernetes: the rest of the job is checked, the relabelling above all.
        config = tmp_path / config.name
        config.write_text(json.dumps(document))
    assert _complaints(config) == ""


def _complaints(config: Path) -> str:
    """What promtool has to say against a configuration."""
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
    said = f"{done.stdout}{done.stderr}"
    return said if done.returncode or "WARNING" in said else ""


def test_the_pod_monitor_says_what_the_plain_configuration_says() -> None:
    """Both choose the same pods, name the node in `instance`, and leave the labels of pods to those who work on a GPU."""
    monitor = yaml.safe_load((_EXAMPLES / "podmonitor.yaml").read_text())
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    endpoint = monitor["spec"]["podMetricsEndpoints"][0]
    by_target = {rule.get("targetLabel"): rule for rule in endpoint["relabelings"]}
    plain = yaml.safe_load((_EXAMPLES / "kubernetes.yml").read_text())["scrape_configs"][0]
    instance = next(rule for rule in plain["relabel_configs"] if rule.get("target_label") == "instance")
    assert by_target["instance"]["sourceLabels"] == instance["source_labels"]
    assert by_target["job"]["replacement"] == plain["job_name"]
    kept = {rule["regex"] for rule in plain["relabel_configs"] if rule.get("action") == "keep"}
    assert kept == {*monitor["spec"]["selector"]["matchLabels"].values(), endpoint["port"]}
    assert set(by_target[None]["regex"].split("|")) == {"pod", "namespace", "container"}


def _slurm_targets(*arguments: str, path: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, _GRAFANA / "prometheus" / "slurm_targets.py", *arguments],
        input=typed,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def _sinfo(folder: Path, script: str) -> str:
    """A PATH on which `sinfo` is this script."""
    program = folder / "sinfo"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_slurms_nodes_with_gpus_become_targets(tmp_path: Path) -> None:
    """Nodes without GPUs are left out, a node in two partitions is there once, and Prometheus reads the file."""
    needs("promtool")
    listing = "gpu02 gpu:h100:8(S:0-1)\\ngpu01 gpu:h100:8\\ngpu01 gpu:h100:8\\ncpu01 (null)\\nfpga1 fpga:2\\n"
    path = _sinfo(tmp_path, f"printf '{listing}'")
    output = tmp_path / "slurm.json"
    done = _slurm_targets("--label", "cluster=hpc", "--output", str(output), path=path)
    assert done.returncode == 0, done.stderr
    assert json.loads(output.read_text()) == [{"targets": ["gpu01:9489", "gpu02:9489"], "labels": {"cluster": "hpc"}}]
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps({"scrape_configs": [{"job_name": "gpuwatch", "file_sd_configs": [{"files": ["slurm.json"]}]}]})
    )
    assert _complaints(config) == ""


def test_a_list_that_is_not_there_is_said_in_a_sentence() -> None:
    """A mistyped file name is one line on stderr."""
    done = _slurm_targets("--hosts", "/nowhere/hosts", path="/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "slurm_targets: /nowhere/hosts can't be read: No such file or directory.\n"


def test_the_nodes_of_a_job_become_targets(tmp_path: Path) -> None:
    """Host names from `scontrol show hostnames` are taken from stdin, as they come."""
    done = _slurm_targets("--hosts", "-", "--port", "9500", path="/nowhere", typed="n2\nn1\n")
    assert json.loads(done.stdout) == [{"targets": ["n1:9500", "n2:9500"], "labels": {}}]


@pytest.mark.parametrize(
    ("script", "said"),
    [("echo 'slurmctld is down' >&2; exit 1", "slurmctld is down"), (None, "sinfo is not installed")],
)
def test_a_silent_slurm_leaves_the_file_alone(tmp_path: Path, script: str | None, said: str) -> None:
    """No node is taken off the list because the controller is down: one sentence, and the old file stays."""
    output = tmp_path / "slurm.json"
    output.write_text("[]\n")
    path = "/nowhere" if script is None else _sinfo(tmp_path, script)
    done = _slurm_targets("--output", str(output), path=path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_text() == "[]\n"
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.timeout(120)
def test_the_three_servers_work_as_configured(tmp_path: Path) -> None:
    """The compose file's own configurations, ports apart: Prometheus scrapes an agent, has the rules, and knows its Alertmanager."""
    config = yaml.safe_load(_CONFIGS[0].read_text())
    routes = yaml.safe_load((_GRAFANA / "prometheus" / "alertmanager.yml").read_text())
    with (
        running_agent(os.environ, "--sim", "l4", log=tmp_path / "agent.log") as agent,
        alertmanager(tmp_path / "alertmanager", routes) as manager,
        prometheus(tmp_path / "prometheus", _on_these_ports(config, agent.url, manager.url)) as server,
    ):
        assert server.wait_until('gpuwatch_up{job="gpuwatch"}')[0].value == 1
        assert {rule["health"] for rule in server.rules()} <= {"ok", "unknown"}
        assert server.rules()
        known = server.get("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        assert [one["url"] for one in known] == [f"{manager.url}/api/v2/alerts"]


def _on_these_ports(config: dict[str, Any], agent: str, manager: str) -> dict[str, Any]:
    """The configuration with the ports that the test has, sooner than every fifteen seconds."""
    text = json.dumps(config)
    text = text.replace("localhost:9489", agent.removeprefix("http://")).replace(
        "localhost:9093", manager.removeprefix("http://")
    )
    text = re.sub(r'"15s"', '"1s"', text).replace("../rules", str(_GRAFANA / "rules"))
    changed: dict[str, Any] = json.loads(text)
    return changed
