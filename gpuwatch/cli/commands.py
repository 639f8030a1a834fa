"""The commands there are. To add one: its file, and one line here."""

from typing import NamedTuple


class Command(NamedTuple):
    """`module` has `add_arguments(parser)` and `run(options) -> int`, and is imported only when chosen."""

    name: str
    module: str
    help: str
    bad_usage: int = 2
    """What it ends with where its flags make no sense; another number where 2 has a meaning of its own."""


COMMANDS = (
    Command("status", "gpuwatch.cli.status", "this node's GPUs in one table, or as JSON"),
    Command("topo", "gpuwatch.cli.topo", "how the GPUs are wired: NVLink, PCIe, NUMA"),
    Command(
        "check", "gpuwatch.cli.check", "watch for some seconds and judge: for prologs, probes and Nagios", bad_usage=3
    ),
    Command("probe", "gpuwatch.cli.probe", "measure on purpose: is the fabric delivering? history, comparison"),
    Command("runbook", "gpuwatch.cli.runbook", "what a kind of finding means, and what to do about it"),
    Command("notify", "gpuwatch.cli.notify", "who is told of findings; --test sends them a message", bad_usage=3),
    Command("dashboard", "gpuwatch.cli.dashboard", "the dashboard, which `gpuwatch` alone opens on a terminal"),
    Command("web", "gpuwatch.cli.web", "serve the dashboard to browsers"),
    Command("agent", "gpuwatch.cli.agent", "serve this node's GPUs over HTTP, for dashboards and scripts"),
    Command("sims", "gpuwatch.cli.sims", "list the simulated machines that --sim takes"),
)
