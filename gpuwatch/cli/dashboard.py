"""Opens the dashboard."""

import argparse

from gpuwatch.source import command_config
from gpuwatch_agent.model.errors import UsageError


def run(options: argparse.Namespace) -> int:
    """Until somebody quits."""
    if options.connect:
        raise UsageError(
            "The dashboard reads this machine only, so far.", "Try `gpuwatch status --watch 1 --connect …`."
        )
    from gpuwatch.tui.app import GpuwatchApp
    from gpuwatch.tui.feeds.embedded import EmbeddedFeed

    app = GpuwatchApp(EmbeddedFeed(command_config(options)))
    app.run()
    return app.return_code or 0
