"""Everything that holds a GPU, to sort, filter, look into and signal."""

from collections.abc import Sequence
from signal import Signals
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from gpuwatch.render.ansi import Line, Span
from gpuwatch.render.job_cells import Job
from gpuwatch.render.text import clean
from gpuwatch.tui.canvas import Drawing, Hit, with_cursor
from gpuwatch.tui.drawing.process_detail import chart_cells, detail_lines, detail_title, environment_lines
from gpuwatch.tui.drawing.process_frame import Shape, key_bar, nobody_lines, summary, unseen_line
from gpuwatch.tui.drawing.process_rows import (
    LOCAL_TITLES,
    Known,
    blamed,
    extent_of,
    head_line,
    list_layout,
    process_line,
    title_line,
)
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.processes.listing import Listing
from gpuwatch.tui.processes.local import why_not_local
from gpuwatch.tui.processes.lookups import Lookups
from gpuwatch.tui.processes.order import BY_TITLE, ORDERS
from gpuwatch.tui.processes.rows import Row, job_key, process_of_key
from gpuwatch.tui.processes.signals import SIGNALS, Outcome, Target, send, why_no_signals
from gpuwatch.tui.views.rows import RowsView

_LEAST_BAR = (100, 25)
_LEAST_SPLIT = 22
_LEAST_LIST = 8
_LEAST_KEYS = 70
_PAGE = 10
_COPY_WIDTH = 160
HINT = "word  user:ann  gpu:0-3,5  job:chat  pid:412  rank:3  !not  ·  enter keeps, esc puts back"


class ProcessesView(RowsView):
    """A list over all GPUs; what is chosen or tagged in it can be looked into and signalled."""

    name_of: ClassVar[str] = "processes"
    title: ClassVar[str] = "Processes"
    short: ClassVar[str] = "Proc"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="processes.filter"),
        Binding("f6,o", "sort_menu", "sort by …", id="processes.sort"),
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
        self.listing = Listing()
        self.pane = ""
        """What is open below the list: "detail", "environment", or nothing."""
        self._lookups = Lookups(self.run_worker, self.redraw)
        self._where: tuple[str, str, str] | None = None
        self._rows: dict[str, Row] = {}
        self._extent = (self.listing.jobs, extent_of(()))
        self._on_screen: Sequence[int] = ()
        self._pane_top: int | None = None
        self._scrolled = 0
        self._cells = 0

    def show(self, moment: Moment) -> None:
        """Another moment is to be seen; what it lacks is looked up behind it."""
        where = (moment.feed.kind, moment.feed.where, moment.frame.node)
        if where != self._where:
            # Another node's processes: what was tagged on the one before must not be met here.
            self._where, self.pane = where, ""
            self.listing.tagged.clear()
            self._lookups.ask_anew()
        if why_not_local(moment) is not None:
            self._lookups.forget_facts()
        super().show(moment)
        self._look_up()

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """The list, the detail of the chosen process, and the keys where there is room."""
        rows = self._take_rows(moment)
        bar = width >= _LEAST_BAR[0] and height >= _LEAST_BAR[1]
        room = height - bar
        job = self._chosen_job()
        pane = self.pane if job is not None else ""
        listed = self._list_height(pane, room, len(rows))
        drawing = self._list(rows, moment, width, listed) if listed else Drawing(lines=[])
        self._pane_top = None
        if job is not None and pane:
            drawing.lines += [[]] * (listed - len(drawing.lines))
            self._pane_top = listed
            self._pane(drawing, job, moment, (width, room - listed))
        if bar:
            drawing.lines += [[]] * (room - len(drawing.lines))
            line, hits = key_bar(width, room, pane)
            drawing.lines.append(line)
            drawing.hits += hits
        return drawing

    @staticmethod
    def _list_height(pane: str, room: int, rows: int) -> int:
        """A pane takes the larger part, or all where both would be too short to read."""
        if not pane:
            return room
        least = 2 * _LEAST_SPLIT if pane == "environment" else _LEAST_SPLIT
        return max(min(room * 2 // 5, rows + 3), _LEAST_LIST) if room >= least else 0

    @property
    def chosen_row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows.get(self.chosen_key or "")

    def _chosen_job(self) -> Job | None:
        """The process under the cursor, on all its GPUs, also where its row is about one of them."""
        row = self.chosen_row
        if row is None or row.job is None or row.parent:
            return row.job if row is not None else None
        return next((job for job in self.listing.jobs if job_key(job) == row.members[0]), row.job)

    def _take_rows(self, moment: Moment) -> Sequence[Row]:
        rows = self.listing.rows(moment.frame, self._lookups.facts)
        before = self.chosen_key
        self._rows = {row.key: row for row in rows}
        if before is None:
            self.chosen_key = next((row.key for row in rows if row.job is not None), None)
        elif before not in self._rows:
            # The same process in another arrangement, or on another GPU's list.
            wanted = process_of_key(before)
            self.chosen_key = next((row.key for row in rows if row.job and process_of_key(row.key) == wanted), before)
        stays = self.chosen_key
        self.take_rows(list(self._rows))
        if self.pane and stays is not None and self.chosen_key != stays:
            self._close_pane_of(process_of_key(stays))
        return rows

    def _close_pane_of(self, key: str) -> None:
        """What was read about one process is never replaced by another's without a word."""
        self.pane = ""
        if all(job_key(job) != key for job in self.listing.jobs):
            told = f"PID {key.partition('.')[0]} holds no GPU any more."
            self.call_later(self.app.notify, told, timeout=5)

    def _list(self, rows: Sequence[Row], moment: Moment, width: int, height: int) -> Drawing:
        listing = self.listing
        shape = Shape(
            total=len(listing.jobs),
            shown=len({key for row in rows if row.job and not row.parent for key in row.members}),
            sieve=listing.sieve,
            only_user=listing.only_user,
            order=listing.order,
            turned=listing.turned,
            arranged=listing.arranged,
            tagged=len(listing.tagged),
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
            facts=self._lookups.facts,
            tagged=frozenset(self.listing.tagged),
            blamed=blamed(moment.frame.findings),
            now=moment.frame.taken_at,
            not_local=why_not_local(moment),
        )
        if self._extent[0] is not self.listing.jobs:
            self._extent = (self.listing.jobs, extent_of(self.listing.jobs))
        layout = list_layout(shown, self._extent[1], known, width)
        titles, stretches = title_line(layout, self.listing.order, self.listing.turned)
        unknown = f"Not known: {known.not_local}." if known.not_local else ""
        absent = [stretch for stretch in stretches if unknown and stretch.title in LOCAL_TITLES]
        for stretch in stretches:
            tip = unknown if stretch in absent else "Sort by this; once more turns it around."
            action = f"sort_by({BY_TITLE[stretch.title].name!r})"
            drawing.hits.append(Hit(len(drawing.lines), stretch.x, stretch.width, action, tip))
        drawing.lines.append(titles)
        position = 0
        for row in shown:
            y, action = len(drawing.lines), f"choose({row.key!r})"
            if row.job is None:
                line: Line = head_line(row, known.tagged, width)
                drawing.hits.append(Hit(y, 0, width, action))
            else:
                line = process_line(layout, position)
                position += 1
                drawing.hits.append(Hit(y, 0, width, action, clean(row.job.process.command or "")))
                drawing.hits += [Hit(y, stretch.x, stretch.width, action, unknown) for stretch in absent]
            drawing.lines.append(with_cursor(line) if row.key == self.chosen_key else line)
        self._on_screen = [row.job.process.pid for row in shown if row.job is not None and row.job.process.visible]

    def _pane(self, drawing: Drawing, job: Job, moment: Moment, size: tuple[int, int]) -> None:
        width, height = size
        self._cells = chart_cells(width)
        other = "e detail" if self.pane == "environment" else "e environment"
        keys = f"esc back · {other} · k signal" if width >= _LEAST_KEYS else "esc back"
        drawing.hits.append(Hit(len(drawing.lines), max(width - len(keys) - 3, 0), len(keys) + 2, "back"))
        drawing.lines.append(detail_title(job, keys, width))
        if self.pane == "environment":
            lines = environment_lines(self._lookups.environment(job), width)
        else:
            past = self._lookups.past(job, moment, self._cells)
            lines = detail_lines(job, self._lookups.facts, past, moment, (width, height - 1))
        room = height - 1
        self._scrolled = min(self._scrolled, max(len(lines) - room, 0))
        seen = lines[self._scrolled : self._scrolled + room]
        left = len(lines) - self._scrolled - len(seen)
        if left > 0 and seen:
            seen[-1] = [Span(f" … {left + 1} more lines: page down", "dim")]
        drawing.lines += seen

    def _look_up(self) -> None:
        """Ask for what the picture lacks; what is not due costs nothing."""
        moment = self.moment
        if moment is None:
            return
        job = self._chosen_job() if self.pane else None
        pids = list(self._on_screen)
        if self.listing.needs_everyone:
            pids = [job.process.pid for job in self.listing.jobs if job.process.visible]
        if job is not None and job.process.visible:
            pids.append(job.process.pid)
        self._lookups.look_at(pids, moment)
        if job is None:
            return
        if self.pane == "environment":
            self._lookups.read_environment(job, moment, refused=self._why_no_environment())
        else:
            self._lookups.follow(job, moment, self._cells, self.dashboard.player.kept)

    def on_show(self) -> None:
        """What happened while it was not seen is missing in the charts."""
        self._lookups.ask_anew()
        super().on_show()
        self._look_up()

    def on_resize(self) -> None:
        """Rows that come into sight are looked up."""
        super().on_resize()
        self._look_up()

    def _again(self) -> None:
        self.redraw()
        self._look_up()

    def action_move(self, rows: int) -> None:
        """The cursor; in a pane its pages, and its lines where it fills the view."""
        reading = self._pane_top is not None and bool(self.pane)
        if reading and (abs(rows) >= _PAGE or (self._pane_top == 0 and self.pane == "environment")):
            self._scroll(rows)
            return
        super().action_move(rows)
        self._look_up()

    def action_choose(self, key: str) -> None:
        """The cursor by mouse."""
        super().action_choose(key)
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
        """Enter opens the detail, and closes it; on a GPU's head it leads to the GPU."""
        row = self.chosen_row
        gpu = self.moment.gpu(row.key.partition(":")[2]) if self.moment is not None and row is not None else None
        if row is not None and row.job is None and gpu is not None:
            self.call_later(self.dashboard.action_open_gpu, gpu.uuid)
            return
        self._turn_pane("" if self.pane == "detail" else "detail")

    def action_environment(self) -> None:
        """Its environment instead of the rest, and back."""
        self._turn_pane("detail" if self.pane == "environment" else "environment")

    def _turn_pane(self, pane: str) -> None:
        if pane and self._chosen_job() is None:
            return
        self.pane, self._scrolled = pane, 0
        self._lookups.ask_anew()
        self._again()

    def action_back(self) -> None:
        """One step back: the environment, the detail, then the filters; never out of the program."""
        if self.pane:
            self._turn_pane("detail" if self.pane == "environment" else "")
        elif self.listing.show_all():
            self._again()

    def open_filter(self) -> bool:
        """Type, and watch the list."""
        from gpuwatch.tui.dialogs.filter_line import FilterLine

        self.app.push_screen(FilterLine(self.listing.sieve.text, HINT, self.filter_by))
        return True

    def action_filter(self) -> None:
        """Type, and watch the list."""
        self.open_filter()

    def filter_by(self, text: str) -> None:
        """Show what this asks for."""
        self.listing.filter_by(text)
        self._again()

    def action_sort_menu(self) -> None:
        """By what."""
        from gpuwatch.tui.dialogs.choice import Choice, Offer

        offers = [Offer(order.name, order.words) for order in ORDERS]
        self.app.push_screen(Choice("Sort by", offers, self.listing.order.name), self._sort_chosen)

    def _sort_chosen(self, name: str | None) -> None:
        if name is not None and name != self.listing.order.name:
            self.action_sort_by(name)

    def action_sort_by(self, name: str) -> None:
        """A click on a title; once more turns it around."""
        self.listing.sort_by(name)
        self._again()

    def action_reverse(self) -> None:
        """The other end first."""
        self.listing.turned = not self.listing.turned
        self._again()

    def action_tree(self) -> None:
        """Under their parents, or not."""
        self.listing.turn_tree()
        self._again()

    def action_group(self) -> None:
        """By GPU, by user, by job, and not at all."""
        self.listing.next_grouping()
        self._again()

    def action_next_user(self) -> None:
        """Only one user's, one after the other, then everybody's."""
        self.listing.next_user()
        self._again()

    def action_tag(self) -> None:
        """Tag the row, or all of its group, and go on to the next."""
        row = self.chosen_row
        if row is not None:
            self.listing.tag(row)
            super().action_move(1)
            self._again()

    def action_untag(self) -> None:
        """None is tagged."""
        self.listing.tagged.clear()
        self.redraw()

    def _why_no_environment(self) -> str | None:
        # The kernel shows it to its owner alone, and would show it to us.
        return "A browser that may only read is not shown it." if self.dashboard.browser_reads_only else None

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
        targets = self.listing.chosen_targets(self.chosen_row)
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
        self.listing.settle(outcomes or ())
        self.redraw()

    def as_text(self) -> str:
        """The whole list, not only what fits on the screen; in a pane what is seen."""
        if self.pane or self.moment is None:
            return super().as_text()
        first, on_screen = self._first_shown, self._on_screen
        rows = list(self._rows.values())
        lines = self._list(rows, self.moment, max(self.size.width, _COPY_WIDTH), len(rows) + 8).lines
        self._first_shown, self._on_screen = first, on_screen
        return "\n".join("".join(span.text for span in line).rstrip() for line in lines).rstrip() + "\n"

    def as_data(self) -> object:
        """The processes asked for, each with the GPUs it uses."""
        jobs = [row.job for row in self._rows.values() if row.job is not None and not row.parent]
        return [
            {"gpus": job.gpus, "memory_bytes": job.memory_bytes, "sm_pct": job.sm_pct, "process": job.process}
            for job in jobs
        ]
