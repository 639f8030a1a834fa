"""Everything that the dashboards read, alive: simulated nodes, a vLLM, a node with probes, and a Prometheus that scrapes them."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gpuwatch_agent.model.probe import ProbeFigure, ProbeOutcome
from gpuwatch_dashboards.panel import Panel, Query
from gpuwatch_dashboards.scenarios import HEALTHY, NAMES, PROBED, SILENT, SIMULATED, SLURM
from gpuwatch_exporters.prometheus.render import render
from support.programs import needs
from support.prometheus_server import Prometheus, prometheus
from support.running_agent import RunningAgent
from support.sample_frames import sample_frame

INSTANCES = {machine: f"{name}:9489" for machine, name in NAMES.items()}
VLLM_INSTANCE = "healthy:8000"
# Some nodes belong to a cluster and some do not: the queries must serve both.
_CLUSTER_OF = {HEALTHY: "lab", SLURM: "lab"}
_INTERVAL = "1s"


class LiveFleet(NamedTuple):
    """What runs, to be asked."""

    prometheus: Prometheus

    def samples(self, panel: Panel, query: Query, **chosen: str) -> "list[Any]":
        """What the query returns once it returns something on the scenario it is for."""
        expression = substituted(query.expr, node=INSTANCES[panel.scenario_of(query)], **chosen)
        return list(self.prometheus.wait_until(expression, within_s=60))


def substituted(text: str, **chosen: str) -> str:
    """The query as Grafana sends it: variables and its own words replaced, "All" where nothing is chosen."""
    words = {
        "__rate_interval": "8s",
        "__range": "20s",
        "cluster": ".*",
        "node": ".*",
        "gpu": ".*",
        "slurm_job": ".*",
        "pod": ".*",
        "group": ".*",
        "cell": "gpuwatch_gpu_utilization_ratio",
        "price": "0.25",
        **chosen,
    }
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(f"${word}", words[word])
    assert "$" not in text.replace('"$1"', ""), text
    return text


class _Vllm:
    """The families of a vLLM server that generates tokens from one scrape to the next."""

    def __init__(self) -> None:
        self._scrapes = 0

    def page(self) -> bytes:
        self._scrapes += 1
        labels = '{engine="0",model_name="meta-llama/Llama-3.1-70B-Instruct"}'
        families = {
            "vllm:generation_tokens_total": ("counter", 400 * self._scrapes),
            "vllm:prompt_tokens_total": ("counter", 1200 * self._scrapes),
            "vllm:num_requests_running": ("gauge", 24),
            "vllm:num_requests_waiting": ("gauge", 3),
        }
        lines = [f"# TYPE {name} {kind}\n{name}{labels} {value}\n" for name, (kind, value) in families.items()]
        return "".join(lines).encode()


def _outcomes() -> list[ProbeOutcome]:
    frame = sample_frame()

    def outcome(kind: Any, *figures: ProbeFigure) -> ProbeOutcome:
        return ProbeOutcome(
            id=kind,
            kind=kind,
            started_at=frame.taken_at - 120,
            finished_at=frame.taken_at - 60,
            gpus=[0, 1, 2, 3, 4, 5, 6, 7],
            ranks=8,
            backend="nccl",
            passed=True,
            verdict="As fast as these boards are.",
            figures=list(figures),
        )

    return [
        outcome(
            "allreduce",
            ProbeFigure(name="allreduce_bus_bandwidth_bytes_per_s", value=478e9),
            ProbeFigure(name="allreduce_latency_s", value=14e-6),
        ),
        outcome(
            "decode",
            ProbeFigure(name="decode_tokens_per_s", value=92.0, model="70b", tp=8),
            ProbeFigure(name="decode_scaling_ratio", value=0.71, model="70b", tp=8),
        ),
        outcome(
            "bandwidth",
            ProbeFigure(name="memory_bandwidth_bytes_per_s", value=2.9e12, gpu=0),
            ProbeFigure(name="matmul_flops", value=7.1e14, gpu=0),
        ),
    ]


def _probed_page() -> bytes:
    return render(msgspec.structs.replace(sample_frame(), probes=_outcomes()))[0]


@contextlib.contextmanager
def _page(write: Callable[[], bytes]) -> Iterator[str]:
    """A server on loopback that answers every scrape with the page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = write()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are nothing to write about."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        serving.join(10)


def _target(address: str, instance: str, cluster: str | None) -> dict[str, Any]:
    labels = {"instance": instance} | ({"cluster": cluster} if cluster else {})
    return {"targets": [address.removeprefix("http://")], "labels": labels}


def _config(agents: dict[str, str], vllm: str) -> dict[str, Any]:
    nodes = [_target(address, INSTANCES[name], _CLUSTER_OF.get(name)) for name, address in agents.items()]
    return {
        "global": {"scrape_interval": _INTERVAL, "scrape_timeout": _INTERVAL},
        "scrape_configs": [
            {"job_name": "gpuwatch", "static_configs": nodes},
            {"job_name": "vllm", "static_configs": [_target(vllm, VLLM_INSTANCE, "lab")]},
        ],
    }


@contextlib.contextmanager
def live_fleet(directory: Path) -> Iterator[LiveFleet]:
    """The fleet for the length of a `with`."""
    needs("prometheus")
    with contextlib.ExitStack() as stack:
        probed = _probed_page()
        agents = {PROBED: stack.enter_context(_page(lambda: probed))}
        # Bound and not listening: whoever connects is refused, and nobody else gets the port.
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        agents[SILENT] = f"127.0.0.1:{deaf.getsockname()[1]}"
        vllm = stack.enter_context(_page(_Vllm().page))

        def start(name: str) -> RunningAgent:
            return RunningAgent(os.environ, "--sim", name, log=directory / f"{INSTANCES[name]}.log")

        with ThreadPoolExecutor(len(SIMULATED)) as starters:
            started = list(starters.map(start, SIMULATED))
        for name, agent in zip(SIMULATED, started, strict=True):
            stack.callback(agent.close)
            agents[name] = agent.url
        yield LiveFleet(stack.enter_context(prometheus(directory / "prometheus", _config(agents, vllm))))
