"""What is on the dashboard's screen: its lines as drawn, and as a text in which a change of words or of style is seen."""

import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from textual.pilot import Pilot

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.text import cells_of
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.drawing.chrome import draw_header, draw_headline
from gpuwatch.tui.moment import Moment
from support.dashboard_story import story

SIZES = ((60, 15), (80, 24), (120, 40), (200, 60))


class Scene(NamedTuple):
    """One view of one machine after so many seconds, behind some keys."""

    name: str
    spec: str
    view: str = "overview"
    keys: tuple[str, ...] = ()
    sizes: Sequence[tuple[int, int]] = ((80, 24), (120, 40))
    seconds: int = 120


OVERVIEWS = tuple(
    Scene(name, spec, sizes=SIZES)
    for name, spec in (
        ("healthy", "dgx-h100-8"),
        ("faulty", "dgx-h100-8+hot@5"),
        ("lost", "dgx-h100-8+lost@3~60"),
        ("stale", "dgx-h100-8+hang@2~60"),
        ("no_gpu", "none"),
        ("no_driver", "dgx-h100-8+driver-gone"),
        ("mig", "h100-mig"),
        ("one", "l4"),
        ("sixteen", "dgx2-v100-16"),
    )
)
OTHERS = (
    Scene("gpu_hot", "dgx-h100-8+hot@5", "gpu"),
    Scene("gpu_lost", "dgx-h100-8+lost@3~60", "gpu"),
    Scene("groups_hot", "dgx-h100-8+hot@5", "groups"),
    Scene("groups_two", "dgx-a100-8", "groups"),
    Scene("fabric_down", "dgx-h100-8+nvlink-down@2", "fabric"),
    Scene("fabric_mesh", "dgx-v100-8", "fabric"),
    Scene("processes", "dgx-h100-8", "processes"),
    Scene("processes_by_user", "dgx-a100-8+noisy-neighbour@1", "processes", ("u",)),
    Scene("nodes_alone", "l4", "nodes", sizes=((80, 24),)),
    Scene("findings_hot", "dgx-h100-8+hot@5+nvlink-down@2", "findings"),
    Scene("findings_none", "dgx-h100-8", "findings"),
    Scene("paused", "dgx-h100-8+hot@5", "overview", ("p", "left", "shift+left")),
    Scene("help", "dgx-h100-8", "overview", ("question_mark",)),
)
SCENES = (*OVERVIEWS, *OTHERS)


async def opened(scene: Scene, app: GpuwatchApp, pilot: Pilot[None]) -> None:
    """Bring an application that runs to the scene."""
    await pilot.pause()
    app.show_now()
    await app.action_show_view(scene.view)
    await settled(app, pilot)  # a key does nothing to a view that has not drawn anything yet
    for key in scene.keys:
        await pilot.press(key)
    await settled(app, pilot)


async def settled(app: GpuwatchApp, pilot: Pilot[None]) -> None:
    """Wait until what is on the screen was drawn at its size: a layout takes some turns of the loop."""
    for _ in range(100):
        await pilot.pause()
        app.show_now()
        if all((*canvas.size, app.theme) == canvas._painted_for for canvas in (app._top, app.view, app._bottom)):
            await pilot.pause()
            return
    raise AssertionError("the screen does not come to rest")


def screen_of(app: GpuwatchApp) -> list[Line]:
    """The lines that are on the screen, from the top, each canvas where it lies."""
    lines: list[Line] = [[] for _ in range(app.size.height)]
    for canvas in (app._top, app.view, app._bottom):
        for y in range(canvas.region.height):
            lines[canvas.region.y + y] = canvas._lines[y] if y < len(canvas._lines) else []
    return lines


def drawn_at(app: GpuwatchApp, width: int, height: int) -> list[Line]:
    """The same for a terminal of another size, without asking the terminal."""
    moment = app.moment
    assert isinstance(moment, Moment)
    headline = draw_headline(moment, width, 2)
    room = height - 1 - len(headline) - 1
    view = app.view.draw(width, room).lines
    footer = _footer(app, width)
    return [draw_header(moment, width), *headline, *view[:room], *([[]] * (room - len(view))), *footer]


def _footer(app: GpuwatchApp, width: int) -> list[Line]:
    return app._bottom.draw(width, 1).lines


def words(lines: Iterable[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(span.text for span in line).rstrip() for line in lines]


async def golden_text(scene: Scene, width: int, height: int) -> str:
    """What a golden file holds: the screen, then the same screen with each cell's style as a letter, then the letters."""
    app = story(scene.spec, scene.seconds).app()
    async with app.run_test(size=(width, height)) as pilot:
        await opened(scene, app, pilot)
        lines = screen_of(app) if app.screen is app.screen_stack[0] else _dialog_lines(app)
    letters: dict[str, str] = {"": "."}
    marks = [_style_marks(line, letters).rstrip(".") for line in lines]
    legend = [f"{letter} {role or 'plain'}" for role, letter in letters.items()]
    return "\n".join([*words(lines), f"{' styles ':=^{width}}", *marks, f"{' letters ':=^{width}}", *legend, ""])


def _dialog_lines(app: GpuwatchApp) -> list[Line]:
    """A dialog's text as Textual paints it; its styles are Textual's own."""
    strips = app.screen._compositor.render_strips()
    return [[Span(strip.text)] for strip in strips]


def _style_marks(line: Line, letters: dict[str, str]) -> str:
    """One letter a cell; a role keeps the letter of its name where that is free."""
    row = line[0].style if line and line[0].style.endswith("+cursor") else ""
    marks = ""
    for text, style in line:
        role = style if not row or style == row else f"{style}{row}"
        marks += _letter(role, letters) * cells_of(text)
    return marks


_PREFERRED = {
    "dim": "d",
    "bold": "b",
    "title": "t",
    "rule": "-",
    "ok": "o",
    "info": "i",
    "warning": "W",
    "warning text": "w",
    "critical": "C",
    "critical text": "c",
    "lost": "L",
    "lost text": "l",
    "stale": "S",
    "stale text": "s",
    "bar": "=",
    "chart": "~",
    "chart warning": "!",
    "tab": "_",
    "tab here": "T",
    "key": "k",
}


def _letter(role: str, letters: dict[str, str]) -> str:
    """Files must not depend on which role came first, so that one change does not shift the letters of others."""
    if role not in letters:
        wanted = _PREFERRED.get(role)
        if wanted is None:
            taken = {*letters.values(), *_PREFERRED.values()}
            wanted = next(
                one
                for one in (*role.upper(), *string.ascii_letters, *string.digits)
                if one not in taken and one.isalnum()
            )
        letters[role] = wanted
    return letters[role]
