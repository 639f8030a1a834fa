"""The dashboard in browsers: each gets a dashboard of its own, with the global flags given here."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from gpuwatch.source import command_config
from gpuwatch_agent.api.address import Address, parse_address
from gpuwatch_agent.model.errors import UsageError

_DEFAULT = "127.0.0.1:9490"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `web`."""
    parser.add_argument("--listen", metavar="HOST:PORT", default=_DEFAULT, help=f"where to listen ({_DEFAULT})")
    parser.add_argument("--hosts", metavar="FILE", help="several agents: a file that names them, one a line")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    config = command_config(options)
    address = parse_address(options.listen)
    token = _token(config.agent.token_file, address)
    try:
        from gpuwatch.web_server import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The dashboard in a browser needs the extra `web` ({error.name} is missing).",
            'Install it: pip install "gpuwatch-node[web]".',
        ) from error
    if token is None:
        # Whoever is on this machine reaches the port, and must not act with our rights.
        os.environ["GPUWATCH_DASHBOARD_READ_ONLY"] = "true"
    serve(address, token, command_of(options), config.agent.allowed_hosts)
    return 0


def _token(token_file: str | None, address: Address) -> str | None:
    """The token that browsers must bring; without one only this machine is served."""
    if address.path is not None:
        raise UsageError("Browsers can't reach a socket file.", "Write HOST:PORT, as 127.0.0.1:9490.")
    if token_file is not None:
        from gpuwatch_agent.api.settings import read_token

        return read_token(token_file)
    if not address.loopback:
        raise UsageError(
            f"On {address} everybody there could use this dashboard: a token is needed.",
            "Give one with --token-file FILE, or listen on 127.0.0.1.",
        )
    return None


def command_of(options: argparse.Namespace) -> str:
    """The command line of one browser's dashboard."""
    flags: list[str] = []
    for flag, value in (
        ("--sim", options.sim),
        ("--connect", options.connect),
        ("--hosts", options.hosts),
        ("--token-file", options.token_file),
        ("--config", options.config),
    ):
        values: Sequence[str] = value if isinstance(value, list) else [] if value is None else [value]
        for one in values:
            flags += [flag, one]
    return shlex.join([sys.executable, "-m", "gpuwatch", "dashboard", *flags])
