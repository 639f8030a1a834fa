"""The node agent: this node's GPUs over HTTP, for dashboards, scripts and Prometheus."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpuwatch.source import command_config
from gpuwatch_agent.config import Config
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.errors import UsageError

if TYPE_CHECKING:
    from gpuwatch_exporters.prometheus.route import MetricsRoute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `agent`."""
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (127.0.0.1:9489)")
    parser.add_argument("--interval", type=float, metavar="SECONDS", help="how often to read the fast values (1)")
    parser.add_argument(
        "--insecure-no-auth", action="store_true", help="listen off loopback without a token: everybody there can read"
    )
    parser.add_argument("--dcgm-compat", action="store_true", help="/metrics under the names of NVIDIA's dcgm-exporter")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.connect:
        raise UsageError("The agent serves this machine: --connect means nothing to it.", "Leave it out.")
    config = command_config(options, _overrides(options))
    from gpuwatch_agent.agent import run_agent

    return run_agent(config, mounts=lambda hub: [("/metrics", _metrics(hub, config))])


def _metrics(hub: FrameHub, config: Config) -> "MetricsRoute":
    """The scrape endpoint, in our words and in DCGM's."""
    from gpuwatch_exporters.dcgm import dcgm_dialect
    from gpuwatch_exporters.prometheus.options import options_from
    from gpuwatch_exporters.prometheus.route import DIALECTS, MetricsRoute

    dialects = {**DIALECTS, "dcgm": dcgm_dialect(config.dcgm.host_label)}
    return MetricsRoute(
        hub, options_from(config), dialects=dialects, default="dcgm" if config.dcgm.compat else "native"
    )


def _overrides(options: argparse.Namespace) -> Mapping[str, object]:
    flags: dict[str, object] = {"agent.listen": options.listen, "sampling.interval_s": options.interval}
    if options.insecure_no_auth:
        flags["agent.insecure_no_auth"] = True
    if options.dcgm_compat:
        flags["dcgm.compat"] = True
    return {path: value for path, value in flags.items() if value is not None}
