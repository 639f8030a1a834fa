"""The simulated machines that --sim takes, and the faults that can be laid over them."""

import argparse
import sys

from gpuwatch.cli.status import write_json
from gpuwatch.cli.terminal import look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `sims`."""
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    """List them."""
    from gpuwatch_agent.hardware.simulated.faults import FAULTS
    from gpuwatch_agent.hardware.simulated.machines import MACHINES
    from gpuwatch_agent.hardware.simulated.spec import GRAMMAR

    machines = {name: machine.description for name, machine in MACHINES.items()}
    faults = {
        name: fault.description + ("" if fault.strength is None else f" (=STRENGTH: {fault.strength.meaning})")
        for name, fault in FAULTS.items()
    }
    terminal = look()
    if options.json:
        write_json({"machines": machines, "faults": faults, "grammar": GRAMMAR}, indent=terminal.interactive)
        return 0
    from gpuwatch.render.sims_list import render_simulations

    sys.stdout.write(
        render_simulations(
            machines, faults, GRAMMAR, width=terminal.width, colour=terminal.colour, unicode=terminal.unicode
        )
    )
    return 0
