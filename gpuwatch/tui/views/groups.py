"""Tensor-parallel groups, rank beside rank on the same scales: who waits, for whom, and what it costs."""

from collections.abc import Sequence
from typing import ClassVar

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.text import clean, wrap
from gpuwatch.tui.canvas import Drawing, Hit, with_cursor
from gpuwatch.tui.drawing.gpu_rows import Standing, standings
from gpuwatch.tui.drawing.rank_rows import group_head, group_verdict, rank_table
from gpuwatch.tui.drawing.room import charts_below
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.detectors.baseline import busy_baselines, job_age_s
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.history import History

_ROOM_FOR_REASONS = 14
_LEAST_ROOM_FOR_CHARTS = 8


class GroupsView(RowsView):
    """All groups below each other; the cursor goes through their ranks."""

    name_of: ClassVar[str] = "groups"
    title: ClassVar[str] = "Groups"
    short: ClassVar[str] = "Grp"

    def __init__(self) -> None:
        super().__init__()
        self._usual = UsualPower()
        self._top = 0
        self._jumped_to: str | None = None

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Every group with its verdict above and its ranks below."""
        groups = moment.groups()
        self.take_rows([uuid for group in groups for uuid in group.uuids])
        self._follow_choice(groups)
        if not groups:
            return Drawing(lines=_no_groups(moment, width))
        stands = standings(groups, moment)
        drawing = Drawing(lines=[])
        cursor_y = 0
        for group in groups:
            first = len(drawing.lines)
            self._one_group(drawing, group, stands, moment, (width, height))
            if self.chosen_key in group.uuids:
                cursor_y = first
        room = height - len(drawing.lines)
        if room >= _LEAST_ROOM_FOR_CHARTS:
            drawing.lines += charts_below(moment, width, room, {uuid for group in groups for uuid in group.uuids})
        return self._scrolled(drawing, cursor_y, height)

    def _follow_choice(self, groups: Sequence[Group]) -> None:
        """A group that was clicked elsewhere is where the cursor goes, once."""
        wanted = self.dashboard.chosen_group
        if wanted is None or wanted == self._jumped_to:
            return
        self._jumped_to = wanted
        for group in groups:
            if group.id == wanted and self.chosen_key not in group.uuids:
                self.chosen_key = group.uuids[0]

    def _one_group(
        self, drawing: Drawing, group: Group, stands: dict[str, Standing], moment: Moment, size: tuple[int, int]
    ) -> None:
        width, height = size
        lines = drawing.lines
        lines.append(group_head(group, moment, width))
        lines += group_verdict(group, moment, width, briefly=height < _ROOM_FOR_REASONS)
        title, rows = rank_table(group, stands, moment, self._usual.of(moment, group), width)
        lines.append(title)
        for uuid, row in zip(group.uuids, rows, strict=True):
            drawing.hits.append(Hit(len(lines), 0, width, f"choose({uuid!r})"))
            lines.append(with_cursor(row) if uuid == self.chosen_key and self.has_focus else row)
        lines.append([])

    def _scrolled(self, drawing: Drawing, cursor_y: int, height: int) -> Drawing:
        """All of it where it fits, else from the chosen group on."""
        top = 0 if len(drawing.lines) - 1 <= height else min(cursor_y, max(len(drawing.lines) - 1 - height, 0))
        hits = [hit._replace(y=hit.y - top) for hit in drawing.hits if top <= hit.y < top + height]
        return Drawing(lines=drawing.lines[top : top + height], hits=hits)

    def action_open(self) -> None:
        """Everything about the GPU under the cursor."""
        if self.chosen_key is not None:
            self.call_later(self.dashboard.action_open_gpu, self.chosen_key)

    def on_focus(self) -> None:
        """The cursor is seen."""
        self.redraw()

    def on_blur(self) -> None:
        """The cursor is not seen."""
        self.redraw()


class UsualPower:
    """What each rank draws when it is busy, from the past hour; worked out once a minute, as it is dear."""

    _EVERY_S = 60.0

    def __init__(self) -> None:
        self._known: dict[str, float | None] = {}
        self._at: float | None = None
        self._history: History | None = None

    def of(self, moment: Moment, group: Group) -> dict[str, float | None]:
        """Watts by UUID; None where too little of the past is known."""
        at = moment.frame.taken_at
        if self._at is None or self._history is not moment.history or abs(at - self._at) >= self._EVERY_S:
            self._known, self._at, self._history = {}, at, moment.history
        if any(uuid not in self._known for uuid in group.uuids):
            self._known |= _busy_power(moment, group)
        return {uuid: self._known[uuid] for uuid in group.uuids}


def _busy_power(moment: Moment, group: Group) -> dict[str, float | None]:
    """The detectors' own yardsticks for these boards and their job."""
    gpus = [gpu for gpu in (moment.gpu(uuid) for uuid in group.uuids) if gpu is not None]
    past_s = min((job_age_s(gpu, moment.frame.taken_at) for gpu in gpus), default=3600.0)
    found = busy_baselines(moment.history, group.uuids, min(3600.0, past_s))
    return {uuid: found[uuid].power_w if uuid in found else None for uuid in group.uuids}


def _no_groups(moment: Moment, width: int) -> list[Line]:
    told = (
        "No group of GPUs that works on one job was recognised. It is told by process titles (vLLM, SGLang), by "
        "--tensor-parallel-size and torchrun's environment, by one process on several GPUs, or by [groups] in the "
        "configuration."
    )
    if len(moment.frame.gpus) < 2:
        told = "A group takes at least two GPUs; this node has one." if moment.frame.gpus else "This node has no GPUs."
    return [[], *([Span(f"  {text}", "dim")] for text in wrap(clean(told), max(width - 4, 20)))]
