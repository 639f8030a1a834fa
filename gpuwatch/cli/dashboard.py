"""Opens the dashboard, as `gpuwatch` alone does on a terminal."""

import argparse
from pathlib import Path

from gpuwatch.source import command_config
from gpuwatch_agent.model.errors import UsageError


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """None but those of every command."""


def run(options: argparse.Namespace) -> int:
    """Until somebody quits."""
    if options.connect:
        raise UsageError(
            "The dashboard reads this machine only, so far.", "Try `gpuwatch status --watch 1 --connect …`."
        )
    config = command_config(options)
    from gpuwatch.tui.app import GpuwatchApp
    from gpuwatch.tui.feeds.embedded import EmbeddedFeed
    from gpuwatch.tui.launch import prepare, run_to_its_end

    app = GpuwatchApp(EmbeddedFeed(config))
    mouse = prepare(app, config, None if options.config is None else Path(options.config))
    return run_to_its_end(app, mouse=mouse)
