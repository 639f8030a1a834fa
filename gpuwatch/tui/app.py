"""The dashboard: composes the views, takes frames in, and routes keys."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import WorkerFailed

from gpuwatch.tui.canvas import Canvas, Drawing
from gpuwatch.tui.drawing.chrome import draw_footer, draw_header, draw_headline, draw_timeline, stale_after_s
from gpuwatch.tui.drawing.node_cells import fleet_lines
from gpuwatch.tui.feeds.base import Feed
from gpuwatch.tui.fine_update import refined
from gpuwatch.tui.fleet import Fleet
from gpuwatch.tui.memberships import Memberships
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.palette import PALETTES, theme_name
from gpuwatch.tui.player import Player
from gpuwatch.tui.tape import Tape
from gpuwatch.tui.views.base import View
from gpuwatch.tui.views.registry import VIEWS
from gpuwatch_agent.config import DashboardSection
from gpuwatch_agent.model.errors import GpuwatchError
from gpuwatch_agent.model.frame import Frame

_MOST_DRAWS_PER_S, _MOST_DRAWS_REDUCED_PER_S = 4, 1
# Frames come a little early or late; one picture a second must not make them wait for the next second.
_EARLY_S = 0.05
# Paints the age of what is shown while nothing new comes.
_AGE_EVERY_S = 1.0
_PACES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class _Top(Canvas):
    """Header and headline."""

    DEFAULT_CSS = "_Top { height: 3; dock: top; }"

    def draw(self, width: int, height: int) -> Drawing:
        app = self.app
        if not isinstance(app, GpuwatchApp):
            return Drawing(lines=[])
        if app.fleet is not None and (app.here == "nodes" or app.moment is None):
            return Drawing(lines=fleet_lines(app.fleet, width)[:height])
        moment = app.moment
        if moment is None:
            return Drawing(lines=[])
        return Drawing(lines=[draw_header(moment, width), *draw_headline(moment, width, height - 1)])


class _Bottom(Canvas):
    """The timeline while paused, and the tabs."""

    DEFAULT_CSS = "_Bottom { height: 1; dock: bottom; }"

    def draw(self, width: int, height: int) -> Drawing:
        app = self.app
        if not isinstance(app, GpuwatchApp):
            return Drawing(lines=[])
        tabs = [(view.name_of, view.title, view.short) for view in VIEWS]
        footer = draw_footer(tabs, app.here, app.moment, width)
        above = draw_timeline(app.moment, width) if app.moment is not None and height > 1 else []
        hits = [hit._replace(y=len(above)) for hit in footer.hits]
        return Drawing(lines=[*above, *footer.lines], hits=hits)


def _set_height(canvas: Canvas, lines: int) -> None:
    """Only where it differs: a layout is dear."""
    if canvas.styles.height is None or canvas.styles.height.value != lines:
        canvas.styles.height = lines


def _by_itself(choice: str, *, unasked: bool) -> bool:
    """`always`, `never`, or as it is unasked."""
    return unasked if choice == "auto" else choice == "always"


def _over_ssh(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))


class GpuwatchApp(App[None]):
    """One node at a time, on numbered views; frames come from a feed, which is another one where another node is chosen."""

    TITLE = "gpuwatch"
    CSS = """
    Screen { layers: base; overflow: hidden; }
    #views { height: 1fr; }
    #views > View { display: none; }
    #views > View.here { display: block; }
    Tooltip { background: $surface; color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"show_view({view.name_of!r})", view.title, id=f"view.{view.name_of}", show=False)
            for number, view in enumerate(VIEWS, start=1)
        ),
        Binding("p", "toggle_pause", "pause, or go on", id="pause"),
        Binding("left", "step(-1)", "1 s back in time", id="time.back"),
        Binding("right", "step(1)", "1 s ahead", id="time.ahead"),
        Binding("shift+left", "step(-10)", "10 s back", id="time.back10"),
        Binding("shift+right", "step(10)", "10 s ahead", id="time.ahead10"),
        Binding("home", "oldest", "to the oldest moment kept", id="time.oldest"),
        Binding("end", "live", "back to now", id="time.live"),
        Binding("left_square_bracket", "jump(False)", "to the finding before", id="time.finding_before"),
        Binding("right_square_bracket", "jump(True)", "to the next finding", id="time.finding_next"),
        Binding("plus", "pace(-1)", "read more often", id="pace.faster"),
        Binding("minus", "pace(1)", "read less often", id="pace.slower"),
        Binding("slash", "filter", "filter what is listed", id="filter"),
        Binding("y", "copy(False)", "copy what is shown, as text", id="copy.text"),
        Binding("Y", "copy(True)", "copy what is chosen, as JSON", id="copy.json"),
        Binding("s", "save_picture", "save a picture of the screen", id="picture"),
        Binding("question_mark,h,f1", "help", "this help", id="help"),
        Binding("backspace", "show_view('nodes')", "back to the nodes", id="nodes.back", show=False),
        Binding("f2", "settings", "settings", id="settings"),
        Binding("T", "next_theme", "the next theme", id="theme.next"),
        Binding("f5", "refresh_all", "paint everything anew", id="refresh"),
        Binding("ctrl+z", "suspend_process", "to the shell; fg comes back", id="suspend"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("q", "quit", "quit", id="quit"),
    ]

    def __init__(
        self,
        feed: Feed,
        *,
        fleet: Fleet | None = None,
        start_on: str = VIEWS[0].name_of,
        read_only: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.fleet = fleet
        """The agents to choose from, where there are several."""
        self.read_only = read_only
        """Nothing on the machine is changed from here: no signals."""
        self.failure: GpuwatchError | None = None
        """Why the feed gave up, to be told once the terminal is free."""
        self._wall_clock = wall_clock
        self._drawn_at = 0.0
        self._draw_due = False
        self.feed = feed
        self.player = Player(Tape())
        self._declared_groups: Mapping[str, Sequence[int]] = {}
        self._memberships = Memberships()
        # Held by hand: while a dialog is open, queries would look into the dialog.
        self._top = _Top(id="top")
        self._room = Container(id="views")
        self._bottom = _Bottom(id="bottom")
        self._views: dict[str, View] = {}
        self.moment: Moment | None = None
        self.here = start_on
        self.chosen_gpu: str | None = None
        """The UUID of the GPU that views about one GPU show."""
        self.own_keys: dict[str, str] = {}
        """Keys that the user bound anew, by the binding's id."""
        self.chosen_group: str | None = None
        """The id of the group that the view of groups has its cursor on."""
        self.settings = DashboardSection()
        self.settings_file: Path | None = None
        """Where settings are saved; None where there is no home to save them in."""
        self.crash: BaseException | None = None
        """What ended the dashboard, to be told when the terminal is given back."""
        self._locked = False
        """Whoever looks may not change anything here, not even settings."""
        self._means_filters: Sequence[LineFilter] = ()
        self._most_draws_per_s = _MOST_DRAWS_PER_S
        self._unicode = True
        for palette in PALETTES.values():
            self.register_theme(palette.textual_theme())
        self.theme = next(iter(PALETTES))

    def compose(self) -> ComposeResult:
        """Header, the first view, tabs; other views are made when they are first asked for."""
        yield self._top
        with self._room:
            first = next(view for view in VIEWS if view.name_of == self.here)()
            first.add_class("here")
            self._views[first.name_of] = first
            yield first
        yield self._bottom

    def _display(self, screen: Screen[object], renderable: Any) -> None:
        super()._display(screen, refined(renderable))

    def on_mount(self) -> None:
        """Begin to take frames in."""
        self.view.focus()
        self.set_interval(_AGE_EVERY_S, self._show_age)
        # Back from Ctrl+Z the terminal holds what the shell wrote.
        self.app_resume_signal.subscribe(self, lambda _: self.action_refresh_all())
        self.run_worker(self._follow(self.feed, self.player), group="feed", exclusive=True)
        if self.fleet is not None:
            self.run_worker(self.fleet.run(self._fleet_changed), name="fleet")

    async def _follow(self, feed: Feed, player: Player) -> None:
        try:
            await feed.run(self._deliver, self.show_now, player.recall)
        except GpuwatchError as error:
            self.failure = error
            self.exit(return_code=error.exit_code)

    def follow(self, feed: Feed) -> None:
        """Turn to another node: what was kept of the one before goes with its feed."""
        self.feed, self.player = feed, Player(Tape())
        self._memberships = self._no_memories()
        self.moment = None
        self.chosen_gpu = None
        for view in self._views.values():
            view.forget()
        self.run_worker(self._follow(feed, self.player), group="feed", exclusive=True)
        self.show_now()

    def _no_memories(self) -> Memberships:
        """The configuration here is about this machine, and says nothing of remote ones."""
        return Memberships(self._declared_groups if self.feed.state.kind in {"embedded", "local"} else None)

    def clock(self) -> float:
        """What time it is here."""
        return self._wall_clock()

    def _fleet_changed(self) -> None:
        if self.here == "nodes":
            self.view.redraw()
            self._top.redraw()

    def on_resize(self) -> None:
        """How tall the headline is depends on the width."""
        self.call_later(self.show_now)

    @property
    def view(self) -> View:
        """The view that is seen."""
        return self._views[self.here]

    def _deliver(self, frame: Frame) -> None:
        self.player.deliver(frame)
        self._memberships.note(frame)
        if not self.player.paused:
            self._show_soon()
        elif self.moment is not None:
            # The picture stays; how long ago it was goes on.
            self.moment = msgspec.structs.replace(self.moment, newest_at=frame.taken_at)
            self._bottom.redraw()

    def _show_soon(self) -> None:
        """At most so many pictures a second: what comes faster is shown with the next."""
        wait_s = self._drawn_at + 1 / self._most_draws_per_s - _EARLY_S - time.monotonic()
        if wait_s <= 0:
            self.show_now()
        elif not self._draw_due:
            self._draw_due = True
            self.set_timer(wait_s, self.show_now)

    def show_now(self) -> None:
        """Draw what there is now, without waiting for the next turn."""
        self._draw_due = False
        if not self._bottom.is_attached:
            return  # not built yet, or torn down already
        frame, newest = self.player.frame, self.player.newest
        if frame is None or newest is None:
            self.view.redraw()  # it says what it waits for
            self._top.redraw()
            self._bottom.redraw()
            return
        self._drawn_at = time.monotonic()
        self.moment = Moment(
            frame=frame,
            history=self.feed.history,
            events=list(self.feed.events()),
            topology=self.feed.topology(),
            feed=self.feed.state,
            now=self._wall_clock(),
            newest_at=newest.taken_at,
            oldest_at=self.player.oldest_at or newest.taken_at,
            paused=self.player.paused,
            interval_s=self.feed.interval_s,
            memberships=self._memberships,
        )
        _set_height(self._top, 1 + len(draw_headline(self.moment, self.size.width, 2)))
        self._top.redraw()
        self.view.show(self.moment)
        _set_height(self._bottom, 3 if self.player.paused else 1)
        self._bottom.redraw()

    def _show_age(self) -> None:
        """While nothing new comes, the header tells how old the picture is."""
        moment = self.moment
        if moment is not None and self._wall_clock() - moment.newest_at > stale_after_s(moment):
            self.moment = msgspec.structs.replace(moment, now=self._wall_clock())
            self._top.redraw()

    def take_settings(
        self,
        settings: DashboardSection,
        *,
        keys: Mapping[str, str] | None = None,
        file: Path | None = None,
        unicode: bool = True,
        colour: bool = True,
        locked: bool = False,
        groups: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """What was configured, and what the terminal can show; before the dashboard runs."""
        self.settings_file, self._unicode, self._locked = file, unicode, locked
        self.no_color = not colour
        self._declared_groups = groups or {}
        self._memberships = self._no_memories()
        self.own_keys = dict(keys or {})
        if self.own_keys:
            self.set_keymap(self.own_keys)
        self.apply_settings(settings)

    @property
    def browser_reads_only(self) -> bool:
        """Whether a browser shows it that may change nothing: where no token is asked, anybody on this machine."""
        return self._locked

    def apply_settings(self, settings: DashboardSection) -> None:
        """From now on these hold."""
        self.settings = settings
        self.theme = theme_name(settings.theme)
        self.read_only = settings.read_only or self._locked
        reduced = _by_itself(settings.reduced_motion, unasked=_over_ssh(os.environ))
        self.animation_level = "none" if reduced else "full"
        self._most_draws_per_s = _MOST_DRAWS_REDUCED_PER_S if reduced else _MOST_DRAWS_PER_S
        ascii_only = _by_itself(settings.ascii, unasked=not self._unicode)
        Canvas.ascii_only = ascii_only
        from gpuwatch.tui.filters import AsciiOnly, Colourless

        self._means_filters = [*([AsciiOnly()] if ascii_only else []), *([Colourless()] if self.no_color else [])]
        if self.moment is not None:
            for canvas in (self._top, self._bottom, *self._views.values()):
                canvas.paint_anew()
            self.show_now()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, then what this terminal can't show."""
        return [*super().get_line_filters(), *self._means_filters]

    async def action_show_view(self, name: str) -> None:
        """Turn to a view; one that was never seen is made now."""
        if name == self.here:
            return
        self.view.remove_class("here")
        self.here = name
        if name not in self._views:
            kind = next(view for view in VIEWS if view.name_of == name)
            self._views[name] = kind()
            await self._room.mount(self._views[name])
        self.view.add_class("here")
        self.view.focus()
        if self.fleet is not None:
            self.fleet.watch(watched=name == "nodes")
        self.show_now()

    async def action_open_gpu(self, uuid: str) -> None:
        """Show one GPU."""
        self.chosen_gpu = uuid
        await self.action_show_view("gpu")

    async def action_open_group(self, group: str) -> None:
        """Show one group."""
        self.chosen_group = group
        await self.action_show_view("groups")

    def action_toggle_pause(self) -> None:
        """Stop showing, or go on."""
        self.player.toggle()
        self.show_now()

    def action_step(self, seconds: float) -> None:
        """Move in time."""
        self.player.step(seconds)
        self.show_now()

    def action_go_to(self, moment: float) -> None:
        """To that time; a click at the newest is going live."""
        newest = self.player.newest
        if newest is not None and moment >= newest.taken_at:
            self.player.live()
        else:
            self.player.go_to(moment)
        self.show_now()

    def action_oldest(self) -> None:
        """To the oldest moment kept."""
        self.player.oldest()
        self.show_now()

    def action_live(self) -> None:
        """Back to now."""
        self.player.live()
        self.show_now()

    def action_jump(self, forward: bool) -> None:
        """To a finding's moment."""
        if self.player.jump(list(self.feed.events()), forward=forward) is None:
            self.notify("There is no finding in that direction in the time that is kept.", timeout=3)
        self.show_now()

    async def action_pace(self, direction: int) -> None:
        """Read more or less often."""
        if self.read_only:
            self.notify("Nothing is changed from here: this dashboard is read-only.", timeout=5)
            return
        nearest = min(range(len(_PACES_S)), key=lambda place: abs(_PACES_S[place] - self.feed.interval_s))
        wanted = _PACES_S[min(max(nearest + direction, 0), len(_PACES_S) - 1)]
        if await self.feed.set_interval(wanted):
            self.notify(f"Reading every {wanted:g} s.", timeout=3)
        else:
            self.notify("The agent's pace is set on its own machine (sampling.interval_s).", timeout=5)

    def action_filter(self) -> None:
        """The filter of the view that is seen, where it has one."""
        if not self.view.open_filter():
            self.notify("There is nothing to filter on this view; key 5 has a list that can be filtered.", timeout=3)

    def action_copy(self, as_json: bool) -> None:
        """To the clipboard, by the terminal (OSC 52): it works over SSH, too."""
        if as_json:
            text = msgspec.json.format(msgspec.json.encode(self.view.as_data())).decode()
        else:
            text = self.view.as_text()
        self.copy_to_clipboard(text)
        self.notify(f"Copied {len(text):,} letters, as far as this terminal lets programs copy.", timeout=3)

    def action_save_picture(self) -> None:
        """An SVG in the working directory, and a PNG where rsvg-convert is at hand."""
        if self.is_web:
            self.deliver_screenshot(f"gpuwatch-{self.here}.svg")  # to whoever looks, not into this machine's folders
            return
        from gpuwatch.tui.picture import save_picture

        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._wall_clock()))
        try:
            saved = save_picture(self.export_screenshot(title="gpuwatch"), f"gpuwatch-{self.here}-{stamp}")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.notify(
                f"The picture could not be saved here: {reason}. Start gpuwatch in a folder of yours.", severity="error"
            )
        else:
            self.notify(f"Saved {saved}.", timeout=5)

    def action_help(self) -> None:
        """Which key does what."""
        from gpuwatch.tui.dialogs.help import help_page

        of_view: list[BindingType] = []
        for base in type(self.view).__mro__:
            of_view += [*vars(base).get("BINDINGS", [])] if base.__module__.startswith("gpuwatch") else []
        self.push_screen(help_page(self.view.title, of_view, self.BINDINGS, self.own_keys))

    def action_settings(self) -> None:
        """See and change the settings."""
        from gpuwatch.tui.dialogs.settings import SettingsPage

        self.push_screen(SettingsPage(self.settings, self.apply_settings), self._keep_settings)

    def _keep_settings(self, changed: Mapping[str, str | int | bool] | None) -> None:
        """Save what was changed; the rest of the file is its owner's."""
        if not changed:
            return
        from gpuwatch.tui.settings_file import SettingNotSavedError, save_settings

        if self._locked or self.settings_file is None:
            why = "whoever looks here may only read" if self._locked else "there is no home folder to save them in"
            self.notify(f"The settings hold until you quit: {why}.", timeout=6)
            return
        try:
            save_settings(self.settings_file, "dashboard", changed)
        except SettingNotSavedError as error:
            self.notify(str(error), severity="error", timeout=10)
        else:
            self.notify(f"Saved to {self.settings_file}.", timeout=4)

    def action_next_theme(self) -> None:
        """Dark, light, high contrast, for the colour-blind, and again."""
        names = list(PALETTES)
        self.action_use_theme(names[(names.index(self.theme) + 1) % len(names)].removeprefix(theme_name("")))

    def action_use_theme(self, name: str) -> None:
        """Until somebody quits; F2 saves it."""
        self.apply_settings(msgspec.structs.replace(self.settings, theme=name))
        self.notify(f"Theme: {name}.", timeout=2)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What Ctrl+P lists."""
        del screen
        from gpuwatch.tui.palette_commands import commands

        return commands(self)

    def _handle_exception(self, error: Exception) -> None:
        """Ends the dashboard; what happened is told once the terminal is given back, in one sentence."""
        inner = error.error if isinstance(error, WorkerFailed) else error
        if self.crash is None:
            self.crash = inner
        self._return_code = 3
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def action_refresh_all(self) -> None:
        """Paint everything anew."""
        self.refresh(layout=True)
        self.show_now()
