"""Opens the dashboard: finds out what it is to show, takes the terminal, and gives it back whatever happens."""

import argparse
import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING

from gpuwatch.agent_address import read_token
from gpuwatch.cli.terminal import look
from gpuwatch.source import asked_agents, command_config
from gpuwatch_agent.config import Config
from gpuwatch_agent.model.errors import UsageError

if TYPE_CHECKING:
    from gpuwatch.tui.app import GpuwatchApp

# A terminal that is gone may hold up whoever writes to it: after so long the process ends all the same.
_LAST_RESORT_S = 3.0


def run(options: argparse.Namespace) -> int:
    """Until somebody quits. What can be known to fail fails before the screen is taken."""
    urls = asked_agents(options)
    if urls and options.sim is not None:
        raise UsageError(
            "--connect and --sim exclude each other.", "A remote agent simulates if it is started with --sim."
        )
    config = command_config(options)
    app = _several(urls, config) if len(urls) > 1 else _one(urls[0], config) if urls else _this_machine(config)
    code = _open(app)
    if app.failure is not None:
        raise app.failure
    return code


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


def _open(app: "GpuwatchApp") -> int:
    """Run it on a loop where signals end it in good order: screen given back, sampler ended."""
    from gpuwatch.tui.canvas import Canvas

    Canvas.ascii_only = not look().unicode

    async def show() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, _end, app, number)
        await app.run_async()

    asyncio.run(show())
    return app.return_code or 0


def _end(app: "GpuwatchApp", number: int) -> None:
    last_resort = threading.Timer(_LAST_RESORT_S, os._exit, (128 + number,))
    last_resort.daemon = True
    last_resort.start()
    app.exit(return_code=128 + number)
