"""From configuration and terminal to a dashboard that runs, and back to a terminal as it was."""

import os
import sys
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


def prepare(app: GpuwatchApp, config: Config, named: Path | None, environ: Mapping[str, str] = os.environ) -> bool:
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
        locked=in_browser and config.dashboard.read_only,
    )
    return config.dashboard.mouse


def run_to_its_end(app: GpuwatchApp, *, mouse: bool) -> int:
    """Show it; what ended it other than a person is raised when the terminal is a terminal again."""
    app.run(mouse=mouse)
    return ended(app)


def ended(app: GpuwatchApp) -> int:
    """The exit code, or what went wrong."""
    if app.crash is not None:
        _tell(app.crash)
    return app.return_code or 0


def _tell(crash: BaseException) -> NoReturn:
    # Whatever was on the line stays; the sentence begins on its own.
    sys.stdout.flush()
    raise crash
