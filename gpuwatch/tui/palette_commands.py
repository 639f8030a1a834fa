"""What the list of commands (Ctrl+P) offers, in plain words."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from gpuwatch.render.text import clean
from gpuwatch.render.units import index_list
from gpuwatch.tui.palette import PALETTES, theme_name
from gpuwatch.tui.views.registry import VIEWS

if TYPE_CHECKING:
    from gpuwatch.tui.app import GpuwatchApp


def commands(app: "GpuwatchApp") -> Iterator[SystemCommand]:
    """Views, this node's GPUs and groups, then what works everywhere."""
    for number, view in enumerate(VIEWS, start=1):
        summary = (view.__doc__ or "").strip().partition("\n")[0]
        yield SystemCommand(view.title, f"{summary} Key {number}.", partial(app.action_show_view, view.name_of))
    yield from _of_this_node(app)
    moving = "Go on live" if app.player.paused else "Pause"
    yield SystemCommand(moving, "Stop the picture, or let it go on.", app.action_toggle_pause)
    yield SystemCommand("Finding before", "To the moment of the finding before.", partial(app.action_jump, False))
    yield SystemCommand("Next finding", "To the moment of the next finding.", partial(app.action_jump, True))
    yield SystemCommand("Oldest moment", "To the oldest moment that is kept.", app.action_oldest)
    yield SystemCommand("Copy as text", "What is shown, to the clipboard.", partial(app.action_copy, False))
    yield SystemCommand("Copy as JSON", "What is chosen, to the clipboard.", partial(app.action_copy, True))
    yield SystemCommand(
        "Save a picture", "The screen as SVG and PNG, into the working folder.", app.action_save_picture
    )
    for name in PALETTES:
        short = name.removeprefix(theme_name(""))
        yield SystemCommand(f"Theme: {short}", "Change the colours.", partial(app.action_use_theme, short))
    yield SystemCommand("Settings", "See, change and save them.", app.action_settings)
    yield SystemCommand("Help", "Which key does what here.", app.action_help)
    yield SystemCommand("Paint anew", "Where something else wrote over the screen.", app.action_refresh_all)
    yield SystemCommand("Quit", "End the dashboard.", app.action_quit)


def _of_this_node(app: "GpuwatchApp") -> Iterator[SystemCommand]:
    if app.moment is None:
        return
    for gpu in app.moment.frame.gpus:
        name = clean(gpu.name) if gpu.name else "what board it is can't be read"
        yield SystemCommand(f"GPU {gpu.index}", f"Everything of it: {name}.", partial(app.action_open_gpu, gpu.uuid))
    for group in app.moment.groups():
        yield SystemCommand(
            f"Group on GPU {index_list(group.indices)}",
            f"Its ranks side by side: {clean(group.id)}.",
            partial(app.action_open_group, group.id),
        )
