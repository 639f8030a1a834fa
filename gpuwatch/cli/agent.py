"""The node agent: this node's GPUs over HTTP, for dashboards, scripts and Prometheus."""

import argparse
from collections.abc import Mapping

from gpuwatch.source import command_config
from gpuwatch_agent.model.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `agent`."""
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (127.0.0.1:9489)")
    parser.add_argument("--interval", type=float, metavar="SECONDS", help="how often to read the fast values (1)")
    parser.add_argument(
        "--insecure-no-auth", action="store_true", help="listen off loopback without a token: everybody there can read"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.connect:
        raise UsageError("The agent serves this machine: --connect means nothing to it.", "Leave it out.")
    config = command_config(options, _overrides(options))
    from gpuwatch_agent.agent import run_agent
    from gpuwatch_exporters.prometheus.options import options_from
    from gpuwatch_exporters.prometheus.route import MetricsRoute

    return run_agent(config, mounts=lambda hub: [("/metrics", MetricsRoute(hub, options_from(config)))])


def _overrides(options: argparse.Namespace) -> Mapping[str, object]:
    flags: dict[str, object] = {"agent.listen": options.listen, "sampling.interval_s": options.interval}
    if options.insecure_no_auth:
        flags["agent.insecure_no_auth"] = True
    return {path: value for path, value in flags.items() if value is not None}
