"""Everything that holds a GPU, to sort, filter, look into and signal."""

import asyncio
import time
from collections.abc import Sequence
from signal import Signals
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.job_cells import Job, jobs_of
from gpuwatch.render.text import clean
from gpuwatch.tui.canvas import Drawing, Hit, with_cursor
from gpuwatch.tui.drawing.process_detail import Past, chart_cells, detail_lines, detail_title, environment_lines
from gpuwatch.tui.drawing.process_frame import Shape, key_bar, nobody_lines, summary, unseen_line
from gpuwatch.tui.drawing.process_rows import (
    LOCAL_TITLES,
    Known,
    blamed,
    head_line,
    list_layout,
    process_line,
    title_line,
)
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.processes.environment import Environment, environment_of
from gpuwatch.tui.processes.local import Facts, LocalProcesses, why_not_local
from gpuwatch.tui.processes.order import BY_NAME, BY_TITLE, ORDERS, ordered
from gpuwatch.tui.processes.rows import (
    GROUPINGS,
    Grouping,
    Row,
    by_gpu,
    by_job,
    by_user,
    flat,
    job_key,
    process_of_key,
    tree,
)
from gpuwatch.tui.processes.sieve import Sieve, sieve_of
from gpuwatch.tui.processes.signals import SIGNALS, Outcome, Target, send, target_of, why_no_signals
from gpuwatch.tui.processes.trace import Trace, step_s
from gpuwatch.tui.views.rows import RowsView
from gpuwatch_agent.model.frame import Frame

_LOOK_EVERY_S = 2.0
_LOOK_AT_NEW_S = 0.25
_LEAST_BAR = (100, 25)
_LEAST_SPLIT = 22
_LEAST_LIST = 8
HINT = "word  user:ann  gpu:0-3,5  job:chat  pid:412  rank:3  !not  ·  enter keeps, esc puts back"


class ProcessesView(RowsView):
    """A list over all GPUs; what is chosen or tagged in it can be looked into and signalled."""

    name_of: ClassVar[str] = "processes"
    title: ClassVar[str] = "Processes"
    short: ClassVar[str] = "Proc"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="processes.filter"),
        Binding("s,f6", "sort_menu", "sort by …", id="processes.sort"),
        Binding("S", "reverse", "the other end first", id="processes.reverse"),
        Binding("t", "tree", "tree of parents", id="processes.tree"),
        Binding("G", "group", "group by GPU, user, job", id="processes.group"),
        Binding("u", "next_user", "one user after the other", id="processes.user"),
        Binding("space", "tag", "tag", id="processes.tag"),
        Binding("c", "untag", "untag all", id="processes.untag"),
        Binding("e", "environment", "environment", id="processes.environment"),
        Binding("k,f9", "signal_menu", "send a signal …", id="processes.signal"),
        Binding("escape", "back", "close, or clear the filter", id="processes.back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.sieve = Sieve()
        self.order = ORDERS[0]
        self.turned = False
        self.grouping: Grouping = ""
        self.as_tree = False
        self.only_user: str | None = None
        self.tagged: dict[str, Target] = {}
        self.pane = ""
        """"", "detail" or "environment"."""
        self._scrolled = 0
        self._jobs: list[Job] = []
        self._jobs_of: Frame | None = None
        self._rows: dict[str, Row] = {}
        self._on_screen: Sequence[int] = ()
        self._pane_top: int | None = None
        self._local = LocalProcesses()
        self._facts: dict[int, Facts] = {}
        self._looked_at: float | None = None
        self._looking = False
        self._trace: Trace | None = None
        self._gathered: tuple[object, ...] = ()
        self._gathering = False
        self._cells = 0
        self._environment: tuple[str, Environment | None] = ("", None)

    # What is shown

    def show(self, moment: Moment) -> None:
        """Another moment is to be seen; what it lacks is looked up behind it."""
        if why_not_local(moment) is not None:
            self._facts = {}
        super().show(moment)
        self._look_up()

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """The list, the detail of the chosen process, and the keys where there is room."""
        rows = self._take_rows(moment)
        bar = width >= _LEAST_BAR[0] and height >= _LEAST_BAR[1]
        room = height - bar
        chosen = self.chosen_row
        pane = self.pane if chosen is not None and chosen.job is not None else ""
        listed = room if not pane else max(room * 2 // 5, _LEAST_LIST) if room >= _LEAST_SPLIT else 0
        if pane == "environment" and room < 2 * _LEAST_SPLIT:
            listed = 0
        drawing = self._list(rows, moment, width, listed) if listed else Drawing(lines=[])
        self._pane_top = None
        if pane and chosen is not None and chosen.job is not None:
            drawing.lines += [[]] * (listed - len(drawing.lines))
            self._pane_top = len(drawing.lines)
            self._pane(drawing, chosen.job, moment, width, room - listed)
        if bar:
            drawing.lines += [[]] * (room - len(drawing.lines))
            line, hits = key_bar(width, len(drawing.lines), self.pane)
            drawing.lines.append(line)
            drawing.hits += hits
        return drawing

    @property
    def chosen_row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows.get(self.chosen_key or "")

    def _take_rows(self, moment: Moment) -> Sequence[Row]:
        if self._jobs_of is not moment.frame:
            self._jobs, self._jobs_of = jobs_of(moment.frame), moment.frame
        asked = [job for job in self._jobs if self._is_asked_for(job)]
        rows = self._arranged(ordered(asked, self.order, self.turned, self._facts))
        before = self.chosen_key
        self._rows = {row.key: row for row in rows}
        if before is not None and before not in self._rows:
            # The same process in another arrangement, or on another GPU's list.
            wanted = process_of_key(before)
            self.chosen_key = next((row.key for row in rows if row.job and process_of_key(row.key) == wanted), before)
        self.take_rows(list(self._rows))
        if before is None and len(rows) > 1 and rows[0].job is None:
            self.chosen_key = rows[1].key
        return rows

    def _is_asked_for(self, job: Job) -> bool:
        return (self.only_user is None or job.process.user == self.only_user) and self.sieve.passes(job)

    def _arranged(self, jobs: Sequence[Job]) -> list[Row]:
        if self.as_tree:
            return tree(jobs, self._facts)
        return {"gpu": by_gpu, "user": by_user, "job": by_job}.get(self.grouping, flat)(jobs)

    def _list(self, rows: Sequence[Row], moment: Moment, width: int, height: int) -> Drawing:
        shape = Shape(
            total=len(self._jobs),
            shown=len({key for row in rows if row.job and not row.parent for key in row.members}),
            sieve=self.sieve,
            only_user=self.only_user,
            order=self.order,
            turned=self.turned,
            arranged="tree" if self.as_tree else self.grouping,
            tagged=len(self.tagged),
        )
        line, hits = summary(shape, width)
        drawing = Drawing(lines=[line], hits=hits)
        unseen = unseen_line(moment.frame, width)
        if unseen is not None:
            drawing.lines.append(unseen)
        if not rows:
            drawing.lines += nobody_lines(moment.frame, shape, width)
            self._on_screen = ()
            return drawing
        first, last = self.window(height - len(drawing.lines) - 1)
        self._table(drawing, rows[first:last], moment, width)
        return drawing

    def _table(self, drawing: Drawing, shown: Sequence[Row], moment: Moment, width: int) -> None:
        known = Known(
            facts=self._facts,
            tagged=frozenset(self.tagged),
            blamed=blamed(moment.frame.findings),
            now=moment.frame.taken_at,
            not_local=why_not_local(moment),
        )
        layout = list_layout(shown, self._jobs, known, width)
        titles, stretches = title_line(layout, self.order, self.turned)
        for x, cells, title in stretches:
            why = f"Not known: {known.not_local}." if title in LOCAL_TITLES and known.not_local else "Sort by this."
            drawing.hits.append(Hit(len(drawing.lines), x, cells, f"sort_by({BY_TITLE[title].name!r})", why))
        drawing.lines.append(titles)
        absent = [(x, cells) for x, cells, title in stretches if title in LOCAL_TITLES]
        position = 0
        for row in shown:
            y = len(drawing.lines)
            drawing.hits.append(Hit(y, 0, width, f"choose({row.key!r})", clean(_whole_command(row))))
            if row.job is None:
                line: Line = head_line(row, known.tagged, width)
            else:
                line = process_line(layout, position)
                position += 1
                if known.not_local is not None:
                    told = f"Not known: {known.not_local}."
                    drawing.hits += [Hit(y, x, cells, f"choose({row.key!r})", told) for x, cells in absent]
            drawing.lines.append(with_cursor(line) if row.key == self.chosen_key else line)
        self._on_screen = [row.job.process.pid for row in shown if row.job is not None and row.job.process.visible]

    def _pane(self, drawing: Drawing, job: Job, moment: Moment, width: int, height: int) -> None:
        self._cells = chart_cells(width)
        keys = "esc list · e detail · k signal" if self.pane == "environment" else "esc list · e environment · k signal"
        if width < 70:
            keys = "esc list"
        drawing.hits.append(Hit(len(drawing.lines), max(width - len(keys) - 3, 0), len(keys) + 2, "back"))
        drawing.lines.append(detail_title(job, keys, width))
        if self.pane == "environment":
            whose, found = self._environment
            lines = environment_lines(found if whose == job_key(job) else None, width)
        else:
            past = self._past(job, moment)
            lines = detail_lines(job, self._facts, past, moment, (width, height - 1))
        room = height - 1
        self._scrolled = min(self._scrolled, max(len(lines) - room, 0))
        seen = lines[self._scrolled : self._scrolled + room]
        drawing.lines += seen
        left = len(lines) - self._scrolled - len(seen)
        if left > 0 and seen:
            drawing.lines[-1] = _more_below(left)

    def _past(self, job: Job, moment: Moment) -> Past | None:
        trace = self._trace
        if trace is None or trace.pid != job.process.pid or trace.started_at != job.process.started_at:
            return Past([None] * self._cells, 1)
        return Past(trace.samples(moment.frame.taken_at, self._cells), trace.step)

    # What is looked up

    def _look_up(self) -> None:
        """Ask for what the picture lacks; each costs nothing while it is not due."""
        if self.moment is None:
            return
        self._look_at_facts(self.moment)
        if self.pane == "detail":
            self._follow(self.moment)
        elif self.pane == "environment":
            self._read_environment(self.moment)

    def _look_at_facts(self, moment: Moment) -> None:
        if self._looking or why_not_local(moment) is not None:
            return
        everyone = self.as_tree or self.order.local
        wanted = [job.process.pid for job in self._jobs if job.process.visible] if everyone else list(self._on_screen)
        chosen = self.chosen_row
        if self.pane and chosen is not None and chosen.job is not None:
            wanted.append(chosen.job.process.pid)
        now = time.monotonic()
        new = any(pid not in self._facts for pid in wanted)
        due = _LOOK_AT_NEW_S if new else _LOOK_EVERY_S
        if wanted and (self._looked_at is None or now - self._looked_at >= due):
            self._looking, self._looked_at = True, now
            self.run_worker(self._read_facts(wanted, draw=new or moment.interval_s > _LOOK_EVERY_S), group="facts")

    async def _read_facts(self, pids: Sequence[int], *, draw: bool) -> None:
        try:
            self._facts = await asyncio.to_thread(self._local.read, pids)
        finally:
            self._looking = False
        if draw:
            self.redraw()

    def _follow(self, moment: Moment) -> None:
        """The chosen process's past: the newest from the frame, the rest from the tape, once."""
        row = self.chosen_row
        if row is None or row.job is None or not row.job.gpus or self._cells <= 0:
            return
        process = row.job.process
        step = step_s(min(max(moment.newest_at - moment.oldest_at, 60.0), 3600.0), self._cells)
        trace = self._trace
        if trace is None or (trace.pid, trace.started_at) != (process.pid, process.started_at) or trace.step != step:
            trace = self._trace = Trace(process.pid, process.started_at, step)
        if not moment.paused:
            trace.take(moment.frame)
        what = (row.key, step, self._cells, moment.frame.taken_at if moment.paused else None)
        if self._gathered != what and not self._gathering:
            self._gathered, self._gathering = what, True
            self.run_worker(self._gather(trace, moment), group="trace")

    async def _gather(self, trace: Trace, moment: Moment) -> None:
        try:
            kept = self.dashboard.player.kept
            await trace.gather(moment.frame.taken_at, moment.oldest_at, self._cells, kept, self.redraw)
        finally:
            self._gathering = False

    def _read_environment(self, moment: Moment) -> None:
        row = self.chosen_row
        if row is None or row.job is None or self._environment[0] == job_key(row.job):
            return
        key, process = job_key(row.job), row.job.process
        why = why_not_local(moment)
        if why is not None:
            self._environment = (key, Environment(refusal=f"Its environment is not known: {why}."))
        elif not process.visible:
            self._environment = (
                key,
                Environment(refusal="It is not visible from here: it runs in another container, or has ended."),
            )
        else:
            self._environment = (key, None)
            self.run_worker(
                self._fetch_environment(key, process.pid, process.started_at, process.user), group="environ"
            )
        self.redraw()

    async def _fetch_environment(self, key: str, pid: int, started_at: float | None, user: str | None) -> None:
        found = await asyncio.to_thread(environment_of, pid, started_at, user)
        if self._environment[0] == key:
            self._environment = (key, found)
            self.redraw()

    def on_show(self) -> None:
        """What happened while it was not seen is missing in the charts."""
        self._gathered = ()
        super().on_show()

    # Keys

    def _again(self) -> None:
        self.redraw()
        self._look_up()

    def action_move(self, rows: int) -> None:
        """The cursor; in a pane that fills the view, its lines."""
        reading = self.pane and self._pane_top is not None
        if reading and ((self._pane_top == 0 and self.pane == "environment") or abs(rows) == 10):
            self._scroll(rows)
            return
        super().action_move(rows)
        self._moved()

    def action_choose(self, key: str) -> None:
        """The cursor by mouse."""
        super().action_choose(key)
        self._moved()

    def _moved(self) -> None:
        self._look_up()

    def _scroll(self, lines: int) -> None:
        self._scrolled = max(self._scrolled + lines, 0)
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves what is under it."""
        self._wheel(event, 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves what is under it."""
        self._wheel(event, -3)

    def _wheel(self, event: events.MouseEvent, lines: int) -> None:
        event.stop()
        if self._pane_top is not None and event.y >= self._pane_top:
            self._scroll(lines)
        else:
            self.action_move(lines)

    def action_open(self) -> None:
        """Enter opens the detail, and closes it."""
        self._turn_pane("" if self.pane == "detail" else "detail")

    def action_environment(self) -> None:
        """Its environment instead of the rest, and back."""
        self._turn_pane("detail" if self.pane == "environment" else "environment")

    def _turn_pane(self, pane: str) -> None:
        row = self.chosen_row
        if pane and (row is None or row.job is None):
            return
        self.pane, self._scrolled, self._gathered, self._environment = pane, 0, (), ("", None)
        self._again()

    def action_back(self) -> None:
        """One step back: the environment, the detail, then the filters; never out of the program."""
        if self.pane:
            self._turn_pane("detail" if self.pane == "environment" else "")
        elif self.sieve.text or self.only_user is not None:
            self.only_user = None
            self.filter_by("")

    def open_filter(self) -> bool:
        """Type, and watch the list."""
        from gpuwatch.tui.dialogs.filter_line import FilterLine

        self.app.push_screen(FilterLine(self.sieve.text, HINT, self.filter_by))
        return True

    def action_filter(self) -> None:
        """Type, and watch the list."""
        self.open_filter()

    def filter_by(self, text: str) -> None:
        """Show what this asks for."""
        self.sieve = sieve_of(text)
        self._again()

    def action_sort_menu(self) -> None:
        """By what."""
        from gpuwatch.tui.dialogs.choice import Choice, Offer

        offers = [Offer(order.name, order.words) for order in ORDERS]
        self.app.push_screen(Choice("Sort by", offers, self.order.name), self._sort_chosen)

    def _sort_chosen(self, name: str | None) -> None:
        if name is not None:
            self.order, self.turned = BY_NAME[name], False
            self._again()

    def action_sort_by(self, name: str) -> None:
        """A click on a title; once more turns it around."""
        if self.order.name == name:
            self.turned = not self.turned
        else:
            self.order, self.turned = BY_NAME[name], False
        self._again()

    def action_reverse(self) -> None:
        """The other end first."""
        self.turned = not self.turned
        self._again()

    def action_tree(self) -> None:
        """Under their parents, or not."""
        self.as_tree = not self.as_tree
        self.grouping = ""
        self._again()

    def action_group(self) -> None:
        """By GPU, by user, by job, and not at all."""
        self.as_tree = False
        self.grouping = GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)]
        self._again()

    def action_next_user(self) -> None:
        """Only one user's, one after the other, then everybody's."""
        users = sorted({job.process.user for job in self._jobs if job.process.user})
        later = [user for user in users if self.only_user is None or user > self.only_user]
        self.only_user = later[0] if later else None
        self._again()

    def action_tag(self) -> None:
        """Tag the row, or all of its group, and go on to the next."""
        row = self.chosen_row
        if row is None:
            return
        if all(key in self.tagged for key in row.members):
            for key in row.members:
                del self.tagged[key]
        else:
            self.tagged.update((key, target) for key, target in self._targets_of(row).items())
        RowsView.action_move(self, 1)
        self._moved()

    def _targets_of(self, row: Row) -> dict[str, Target]:
        if row.parent and row.job is not None:
            return {job_key(row.job): target_of(row.job)}
        members = set(row.members)
        return {job_key(job): target_of(job) for job in self._jobs if job_key(job) in members}

    def action_untag(self) -> None:
        """None is tagged."""
        self.tagged.clear()
        self.redraw()

    # Signals

    def _why_no_signals(self) -> str | None:
        if self.moment is None:
            return "Nothing was read yet."
        return why_no_signals(self.moment, self.dashboard.read_only)

    def action_signal_menu(self) -> None:
        """Which signal, for what is tagged, else for the row under the cursor."""
        from gpuwatch.tui.dialogs.choice import Choice, Offer

        why = self._why_no_signals()
        if why is not None:
            self.app.notify(why, severity="warning", timeout=5)
            return
        row = self.chosen_row
        targets = list((self.tagged or (self._targets_of(row) if row is not None else {})).values())
        if not targets:
            return
        offers = [Offer(number.name, f"{number.name[3:]:<5}{number.value:>3}", told) for number, told in SIGNALS]
        who = f"PID {targets[0].pid}" if len(targets) == 1 else f"{len(targets)} processes"
        self.app.push_screen(Choice(f"Signal to {who}", offers), lambda name: self._confirm(name, targets))

    def _confirm(self, name: str | None, targets: Sequence[Target]) -> None:
        if name is None:
            return
        from gpuwatch.tui.dialogs.signal_confirm import ConfirmSignal

        self.app.push_screen(ConfirmSignal(Signals[name], targets, self._send), self._after_signals)

    def _send(self, target: Target, number: Signals) -> Outcome:
        """What is shown may have changed while the question stood."""
        why = self._why_no_signals()
        return Outcome(target, "refused", why) if why is not None else send(target, number)

    def _after_signals(self, outcomes: Sequence[Outcome] | None) -> None:
        for outcome in outcomes or ():
            if outcome.word in {"delivered", "gone"}:
                key = next((key for key, target in self.tagged.items() if target == outcome.target), None)
                self.tagged.pop(key or "", None)
        self.redraw()

    # For the clipboard

    def as_data(self) -> object:
        """The processes asked for, each with the GPUs it uses."""
        return [
            {
                "gpus": row.job.gpus,
                "memory_bytes": row.job.memory_bytes,
                "sm_pct": row.job.sm_pct,
                "process": row.job.process,
            }
            for row in self._rows.values()
            if row.job is not None and not row.parent
        ]


def _whole_command(row: Row) -> str:
    """What the list may have cut."""
    return (row.job.process.command or "") if row.job is not None else ""


def _more_below(lines: int) -> Line:
    return [Span(f" … {lines + 1} more lines: page down", "dim")]
