"""A small site: simulated nodes with live agents, a real Prometheus that scrapes them, a real Alertmanager, and who is told."""

import contextlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gpuwatch_agent.detectors.registry import DETECTORS
from support.alert_rules import ROOT, documents
from support.programs import needs
from support.prometheus_server import Prometheus, alerting, alertmanager, prometheus, scraping
from support.receiver import Receiver
from support.running_agent import RunningAgent

# The first scrape comes some five seconds after Prometheus is up: what comes and goes begins well after it, so that both are seen.
NODES = {
    "healthy": "dgx-h100-8",
    "heat": "dgx-a100-8+hot@5=0.9~14-20+xid@0=145~14",
    "rank": "dgx-a100-8+slow-rank@1=0.5~14-28",
    "loss": "2x4090+lost@1~14-24+xid@0=79~14",
    "stalled": "h200-8+stuck~8",
    "faults": "dgx-h100-8+power-brake@0+nvlink-down@1+fabric-error@2+nvlink-errors@3+pcie-errors@4+ecc-storm@5+row-remap@6"
    "+row-remap-failed@7+ecc@1~14",
    "workshop": "4x3090-bridged+fan-dead@0+pcie-narrow@1~8+noisy-neighbour@3",
    "uneven": "dgx-a100-8+power-cap@1+memory-imbalance@4+hang@7~5",
    "idle": "l4+idle-allocation",
    "no-driver": "l4+driver-gone",
    "down": "l4",
}
# The windows of the rules, cut from minutes to seconds; "within the last day" stays, since it only looks for what was.
HURRY = {"[5m]": "[6s]", "[10m]": "[8s]", "[30m]": "[20s]", "[1h]": "[12s]", "< 600": "< 8"}
_SECONDS = {"raise_after_s": 1.0, "clear_after_s": 1.0, "boot_grace_s": 0.0}


class Site(NamedTuple):
    """What the tests ask: servers, nodes by name, and the port of the one that is ended."""

    prometheus: Prometheus
    receiver: Receiver
    nodes: dict[str, RunningAgent]
    pages: str

    def instance(self, node: str) -> str:
        """The node as Prometheus names it."""
        return self.nodes[node].url.removeprefix("http://")


def hurried(rules: dict[str, Any]) -> dict[str, Any]:
    """A rule file that waits a second where it waits minutes, and looks back over seconds."""
    text = re.sub(r"\n( +)for: \w+", r"\n\1for: 1s", yaml.safe_dump(rules, width=10_000))
    for slow, quick in HURRY.items():
        text = text.replace(slow, quick)
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _agent_config() -> str:
    lines = ["[sampling]", "medium_s = 1.0", "slow_s = 1.0"]
    for detector in DETECTORS:
        settings = {**_SECONDS, **({"silent_s": 10.0} if detector.kind == "tp_stalled" else {})}
        lines += [f"[findings.{detector.kind}]", *(f"{name} = {value}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def _telling(receiver: Receiver) -> dict[str, Any]:
    """The example for Alertmanager as it is shipped, with our receiver in place of people, and in a hurry."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "grafana" / "prometheus" / "alertmanager.yml").read_text("utf-8"))
    config["route"].update(group_wait="1s", group_interval="1s")
    for one in config["receivers"]:
        one["webhook_configs"] = [{"url": receiver.url, "send_resolved": True}]
    return config


def _page(*lines: str) -> bytes:
    body = "".join(f"{line}\n" for line in lines).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _pages() -> list[bytes]:
    """What a node says of troubles that no simulated machine has, at the first scrapes and at later ones."""
    gpu = 'gpu="0",uuid="GPU-0"'
    lines = [
        f'gpuwatch_gpu_info{{{gpu},name="H100"}} 1',
        f'gpuwatch_finding{{{gpu},kind="hw_slowdown",severity="warning"}} 1',
        f'gpuwatch_finding{{{gpu},kind="slow_placement",severity="warning"}} 1',
        f"gpuwatch_gpu_temperature_celsius{{{gpu}}} 94",
        f"gpuwatch_gpu_temperature_shutdown_celsius{{{gpu}}} 96",
        "gpuwatch_frame_age_seconds 45",
        "gpuwatch_agent_interval_seconds 1",
        "gpuwatch_agent_sample_seconds 1.5",
        'gpuwatch_collector_success{collector="power"} 0',
    ]
    first = _page(
        *lines,
        'gpuwatch_gpu_info{gpu="1",uuid="GPU-1",name="H100"} 1',
        "gpuwatch_agent_sampler_restarts_total 0",
        f'gpuwatch_gpu_xid_errors_total{{{gpu},xid="13",class="application",severity="info"}} 0',
    )
    later = _page(
        *lines,
        "gpuwatch_agent_sampler_restarts_total 4",
        f'gpuwatch_gpu_xid_errors_total{{{gpu},xid="13",class="application",severity="info"}} 9',
    )
    return [first] * 8 + [later]


@contextlib.contextmanager
def site_of_alerts(folder: Path) -> Iterator[Site]:
    """Everything up and running for the length of a `with`."""
    needs("prometheus", "prometheus-alertmanager")
    config = folder / "config.toml"
    config.write_text(_agent_config())
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        pages = stack.enter_context(Receiver(_pages()))
        manager = stack.enter_context(alertmanager(folder / "alertmanager", _telling(receiver)))

        def start(name: str) -> tuple[str, RunningAgent]:
            agent = RunningAgent(os.environ, "--sim", NODES[name], "--config", str(config), log=folder / f"{name}.log")
            stack.callback(agent.close)
            return name, agent

        with ThreadPoolExecutor(len(NODES)) as pool:
            nodes = dict(pool.map(start, NODES))
        budget = {
            "record": "gpuwatch:node_power_budget:watts",
            "expr": f'1000 * group by (cluster, job, instance) (gpuwatch_simulated{{instance="{nodes["heat"].url[7:]}"}})',
        }
        rules = {name: hurried(document) for name, document in documents().items()}
        rules["gpuwatch.budget.yaml"]["groups"][0]["rules"] = [budget]
        whole = {**scraping(*(agent.url for agent in nodes.values()), pages.url, interval="1s"), **alerting(manager)}
        server = stack.enter_context(prometheus(folder / "prometheus", whole, rules=rules))
        yield Site(server, receiver, nodes, pages.url.removeprefix("http://"))
