"""From configuration and terminal to a dashboard that runs, and back to a terminal as it was."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from textual.constants import DRIVER

from gpuwatch.cli.terminal import look
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.keymap import checked_keys
from gpuwatch.tui.palette import use_few_colours
from gpuwatch_agent.config import Config, config_file, own_config_file
from gpuwatch_agent.model.errors import UsageError

# A terminal that is gone may hold up whoever writes to it: after so long the process ends all the same.
_LAST_RESORT_S = 3.0


def prepare(
    app: GpuwatchApp,
    config: Config,
    named: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    read_only: bool = False,
) -> bool:
    """Settings, keys and what the terminal can show; gives whether the mouse is wanted. Before the screen is taken."""
    keys = checked_keys(config.keys)
    terminal = look()
    in_browser = DRIVER is not None
    if not terminal.interactive and not in_browser:
        raise UsageError("The dashboard needs a terminal.", "`gpuwatch status` writes into pipes and files.")
    colour = in_browser or terminal.colour
    use_few_colours(not colour or app.console.color_system in {"standard", "windows"})
    app.take_settings(
        config.dashboard,
        keys=keys,
        file=config_file(named, environ) or own_config_file(environ),
        unicode=in_browser or terminal.unicode,
        colour=colour,
        locked=read_only or (in_browser and config.dashboard.read_only),
        groups=config.groups,
    )
    return config.dashboard.mouse


def run_to_its_end(app: GpuwatchApp, *, mouse: bool) -> int:
    """Show it on a loop where signals end it in good order: screen given back, sampler ended.

    What ended it other than a person is raised when the terminal is a terminal again.
    """

    async def show() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, _end, app, number)
        await app.run_async(mouse=mouse)

    asyncio.run(show())
    return ended(app)


def _end(app: GpuwatchApp, number: int) -> None:
    last_resort = threading.Timer(_LAST_RESORT_S, os._exit, (128 + number,))
    last_resort.daemon = True
    last_resort.start()
    app.exit(return_code=128 + number)


def ended(app: GpuwatchApp) -> int:
    """The exit code, or what went wrong."""
    if app.crash is not None:
        _tell(app.crash)
    return app.return_code or 0


def _tell(crash: BaseException) -> NoReturn:
    # Whatever was on the line stays; the sentence begins on its own.
    sys.stdout.flush()
    raise crash
