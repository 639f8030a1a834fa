"""Opens the dashboard: finds out what it is to show, takes the terminal, and gives it back whatever happens."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gpuwatch.agent_address import read_token
from gpuwatch.source import asked_agents, command_config
from gpuwatch_agent.config import Config
from gpuwatch_agent.model.errors import UsageError

if TYPE_CHECKING:
    from gpuwatch.tui.app import GpuwatchApp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `dashboard`."""
    parser.add_argument("--hosts", metavar="FILE", help="several agents: a file that names them, one a line")
    parser.add_argument(
        "--read-only", action="store_true", help="no signals to processes, no other pace, for screens that others see"
    )


def run(options: argparse.Namespace) -> int:
    """Until somebody quits. What can be known to fail fails before the screen is taken."""
    config = command_config(options)
    app = make_app(options, config)
    from gpuwatch.tui.launch import prepare, run_to_its_end

    named = None if options.config is None else Path(options.config)
    mouse = prepare(app, config, named, read_only=vars(options).get("read_only", False))
    code = run_to_its_end(app, mouse=mouse)
    if app.failure is not None:
        raise app.failure
    return code


def make_app(options: argparse.Namespace, config: Config) -> "GpuwatchApp":
    """The dashboard of what the flags name: several agents, one, a simulated machine, or this one."""
    urls = asked_agents(options)
    if urls and options.sim is not None:
        raise UsageError(
            "--connect and --sim exclude each other.", "A remote agent simulates if it is started with --sim."
        )
    if len(urls) > 1:
        return _several(urls, config)
    return _one(urls[0], config) if urls else _this_machine(config)


def _several(urls: list[str], config: Config) -> "GpuwatchApp":
    token = _token(config)
    from gpuwatch.tui.app import GpuwatchApp
    from gpuwatch.tui.feeds.unchosen import UnchosenFeed
    from gpuwatch.tui.fleet import Fleet

    return GpuwatchApp(UnchosenFeed(), fleet=Fleet(urls, token=token), start_on="nodes")


def _one(url: str, config: Config) -> "GpuwatchApp":
    token = _token(config)
    from gpuwatch.client import AgentClient
    from gpuwatch.remote_source import RemoteSource

    RemoteSource(url, token_file=config.agent.token_file).frame(rates=True)
    from gpuwatch.tui.app import GpuwatchApp
    from gpuwatch.tui.feeds.remote import RemoteFeed

    return GpuwatchApp(RemoteFeed(AgentClient(url, token=token)))


def _this_machine(config: Config) -> "GpuwatchApp":
    """By the agent that runs here, else by one of our own."""
    from gpuwatch.tui.app import GpuwatchApp

    if config.hardware.simulate:
        from gpuwatch_agent.hardware.choose import make_hardware

        make_hardware(config)  # a name that does not exist is told while there is a place to tell it
    else:
        from gpuwatch.local_agent import find_local_agent

        url = find_local_agent(config)
        if url is not None:
            from gpuwatch.client import AgentClient
            from gpuwatch.tui.feeds.remote import RemoteFeed

            return GpuwatchApp(RemoteFeed(AgentClient(url, token=_readable_token(config)), local=True))
    from gpuwatch.tui.feeds.embedded import EmbeddedFeed

    return GpuwatchApp(EmbeddedFeed(config))


def _token(config: Config) -> str | None:
    return read_token(config.agent.token_file) if config.agent.token_file is not None else None


def _readable_token(config: Config) -> str | None:
    """The agent's own token file is often root's; on loopback reading does without."""
    try:
        return _token(config)
    except UsageError:
        return None
