"""How the GPUs of this node are wired, in the words of `nvidia-smi topo -m`."""

import argparse
import sys

from gpuwatch.cli.status import write_json
from gpuwatch.cli.terminal import look
from gpuwatch.source import open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `topo`."""
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    """Show the wiring once."""
    terminal = look()
    topology = open_source(options).topology()
    if options.json:
        write_json(topology, indent=terminal.interactive)
        return 0
    from gpuwatch.render.topo_table import render_topology

    sys.stdout.write(render_topology(topology, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode))
    return 0
