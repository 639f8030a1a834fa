"""What stands around the list of processes: what is shown of how much, what hides, and the view's own keys."""

from collections.abc import Sequence

from msgspec import Struct

from gpuwatch.render.ansi import Line, Span, fit_line, line_cells
from gpuwatch.render.text import SIGNS, clean, wrap
from gpuwatch.render.units import index_list
from gpuwatch.tui.canvas import Hit
from gpuwatch.tui.processes.order import Order
from gpuwatch.tui.processes.sieve import Sieve
from gpuwatch_agent.model.absence import SENTENCES
from gpuwatch_agent.model.frame import Frame

_ARRANGED = {"gpu": "by GPU", "user": "by user", "job": "by job", "tree": "as a tree"}
KEYS: Sequence[tuple[str, str, str]] = (
    ("/", "filter", "filter"),
    ("F6", "sort", "sort_menu"),
    ("t", "tree", "tree"),
    ("G", "group", "group"),
    ("u", "user", "next_user"),
    ("space", "tag", "tag"),
    ("enter", "detail", "open"),
    ("e", "environment", "environment"),
    ("k", "signal", "signal_menu"),
    ("S", "turn", "reverse"),
    ("c", "untag", "untag"),
)


_LEAST_WIDE_BAR = 124


class Shape(Struct, frozen=True, kw_only=True):
    """What of all is shown, and how."""

    total: int
    shown: int
    sieve: Sieve
    only_user: str | None
    order: Order
    turned: bool
    arranged: str
    tagged: int


def summary(shape: Shape, width: int) -> tuple[Line, list[Hit]]:
    """How many there are, and what keeps some of them from being seen, with the key that ends it."""
    count = f"{shape.total:,}" if shape.shown == shape.total else f"{shape.shown:,} of {shape.total:,}"
    parts: list[tuple[Line, str]] = [
        ([Span(f" {count}", "bold"), Span(f" process{'es' if shape.total != 1 else ''}", "dim")], "")
    ]
    if shape.sieve.text:
        parts.append(
            ([Span("filter ", "dim"), Span(clean(shape.sieve.text), "accent"), Span(" esc clears", "dim")], "back")
        )
    if shape.sieve.mistake:
        parts.append(([Span(f"{SIGNS['warning']} {shape.sieve.mistake}", "warning text")], "filter"))
    if shape.only_user is not None:
        parts.append(
            ([Span("user ", "dim"), Span(clean(shape.only_user), "accent"), Span(" u next", "dim")], "next_user")
        )
    if shape.tagged:
        parts.append(([Span(f"{shape.tagged} tagged", "tagged"), Span(" c unmarks", "dim")], "untag"))
    if shape.arranged:
        parts.append(([Span(_ARRANGED[shape.arranged], "dim")], "tree" if shape.arranged == "tree" else "group"))
    turned = ", turned" if shape.turned else ""
    parts.append(([Span(f"sorted by {shape.order.words}{turned}", "dim")], "sort_menu"))
    line: Line = []
    hits: list[Hit] = []
    for position, (part, action) in enumerate(parts):
        if position:
            line.append(Span(" · ", "rule"))
        if action:
            hits.append(Hit(0, line_cells(line), line_cells(part), action))
        line += part
    return fit_line(line, width), hits


def unseen_line(frame: Frame, width: int) -> Line | None:
    """GPUs that do not tell who is on them, and processes whose PIDs mean nothing here."""
    reasons: dict[str, list[int]] = {}
    for gpu in frame.gpus:
        if gpu.processes is None:
            absence = gpu.absent.get("processes")
            why = (
                SENTENCES[absence]
                if absence is not None
                else "the GPU is lost"
                if gpu.state == "lost"
                else "not read yet"
            )
            reasons.setdefault(why, []).append(gpu.index)
    told = [f"GPU {index_list(indices)} tells no processes: {why}" for why, indices in reasons.items()]
    hidden = sum(not process.visible for gpu in frame.gpus for process in gpu.processes or ())
    if hidden:
        told.append(f"{hidden} not visible from here (another container, or gone)")
    if not told:
        return None
    return fit_line([Span(f" {SIGNS['stale']} ", "stale"), Span("; ".join(told), "stale text")], width)


def nobody_lines(frame: Frame, shape: Shape, width: int) -> list[Line]:
    """Why the list is empty."""
    if shape.total:
        told = "No process is what the filter asks for. Esc shows all of them again."
    elif frame.trouble is not None:
        told = "The driver can't be read, so nobody knows who uses the GPUs."
    elif not frame.gpus:
        told = "There are no GPUs here, and so no processes on them."
    elif all(gpu.processes is None for gpu in frame.gpus):
        return []
    else:
        told = "No process holds a GPU."
    return [[], *([Span(f"  {text}", "dim")] for text in wrap(told, max(width - 4, 20)))]


def key_bar(width: int, y: int, pane: str) -> tuple[Line, list[Hit]]:
    """The view's own keys, each to be clicked; as many as fit."""
    line: Line = [Span(" ")]
    hits: list[Hit] = []
    gap = 3 if width >= _LEAST_WIDE_BAR else 2
    for key, word, action in KEYS:
        shown = "list" if action == "open" and pane == "detail" else word
        needed = len(key) + len(shown) + 1
        if line_cells(line) + needed > width:
            break
        hits.append(Hit(y, line_cells(line), needed, action))
        line += [Span(key, "key"), Span(f" {shown}", "dim"), Span(" " * gap)]
    return line[:-1], hits
