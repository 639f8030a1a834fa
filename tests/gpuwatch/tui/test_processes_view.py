"""The view of processes: each key and click, on a small and a large terminal, and signals to real processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from signal import SIGTERM

import pytest
from msgspec import structs
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from gpuwatch.render.ansi import line_cells
from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.dialogs.choice import Choice
from gpuwatch.tui.dialogs.signal_confirm import ConfirmSignal
from gpuwatch.tui.moment import FeedState
from gpuwatch.tui.views.processes import ProcessesView
from gpuwatch_agent.config import DashboardSection
from gpuwatch_agent.model.process import Process
from support.dashboard_story import story
from support.real_processes import frame_with, local_app, process_of, worker

SMALL, LARGE = (80, 24), (160, 48)
both = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
Scene = Callable[[ProcessesView, Pilot[None]], Awaitable[None]]


def play(app: GpuwatchApp, size: tuple[int, int], scene: Scene) -> None:
    """Open the view and let the scene act on it."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press("5")
            await pilot.pause()
            view = app.query_one(ProcessesView)
            await scene(view, pilot)

    asyncio.run(run())


def simulated(size: tuple[int, int], scene: Scene, spec: str = "dgx-h100-8+noisy-neighbour@1") -> None:
    """On a simulated machine."""
    play(story(spec, 20).app(), size, scene)


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Let the app work until that is so."""
    for _ in range(500):
        if holds():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came to that")


def words_of(app: App[None], selector: str) -> str:
    """What a static text of the dialog in front says."""
    return str(app.screen.query_one(selector, Static).render())


def seen(view: ProcessesView) -> str:
    """The lines on the screen."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in view._lines)


def pids(view: ProcessesView) -> list[int]:
    """The processes listed, in their order."""
    return [row.job.process.pid for row in view._rows.values() if row.job is not None]


def chosen(view: ProcessesView) -> int | None:
    """The process under the cursor."""
    row = view.chosen_row
    return row.job.process.pid if row is not None and row.job is not None else None


@both
def test_one_row_a_process_the_guilty_one_marked(size: tuple[int, int]) -> None:
    """All processes are counted, and the one a finding names carries its sign."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        text = seen(view)
        assert text.startswith(" 25 processes")
        guilty = next(line for line in text.splitlines() if "1310537" in line)
        assert guilty.startswith(("✖", "▲"))

    simulated(size, scene)


@both
def test_the_sort_menu_the_titles_and_turning_around(size: tuple[int, int]) -> None:
    """O and F6 open the menu, a click on a title sorts, S turns."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("o")
        assert isinstance(pilot.app.screen, Choice)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert view.listing.order.name == "memory"
        await pilot.press("f6")
        options = pilot.app.screen.query_one(OptionList)
        assert options.highlighted == 1, "the menu begins on what holds"
        await pilot.press("escape")
        await pilot.pause()
        assert view.listing.order.name == "memory"
        title = next(hit for hit in view._hits if hit.action == "sort_by('pid')")
        await pilot.click(view, offset=(title.x + title.width - 1, title.y))
        await pilot.pause()
        assert pids(view) == sorted(pids(view))
        await pilot.press("S")
        assert pids(view) == sorted(pids(view), reverse=True)

    simulated(size, scene)


@both
def test_the_filter_follows_every_letter(size: tuple[int, int]) -> None:
    """/ filters while typing, Enter keeps it, Esc in the view clears it, Esc in the line puts back what was."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"user:mall")
        await pilot.pause()
        assert pids(view) == [1310537]
        await pilot.press("enter")
        await pilot.pause()
        assert "1 of 25 processes · filter user:mall esc clears" in seen(view)
        await pilot.press("slash", "backspace", "backspace", "x")
        await pilot.pause()
        assert pids(view) == []
        assert "No process is what the filter asks for" in seen(view)
        await pilot.press("escape")
        await pilot.pause()
        assert pids(view) == [1310537]
        await pilot.press("escape")
        assert len(pids(view)) == 25
        pilot.app.action_filter()  # type: ignore[attr-defined]  # what the footer's word does
        await pilot.pause()
        assert isinstance(pilot.app.focused, Input)

    simulated(size, scene)


@both
def test_groups_tree_and_users_come_and_go(size: tuple[int, int]) -> None:
    """G goes through GPU, user and job, t is a tree, u one user after the other; the cursor stays on its process."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "down")
        stays = chosen(view)
        heads = []
        for _ in range(3):
            await pilot.press("G")
            heads.append(next(row.title for row in view._rows.values() if row.job is None))
            assert chosen(view) == stays
        assert heads[:2] == ["GPU 0", "serve"]
        assert heads[2].startswith("pod 7562bd1b… · vllm:meta-llama")
        await pilot.press("G")
        assert all(row.job is not None for row in view._rows.values())
        await pilot.press("t")
        assert any(row.prefix == "├─ " for row in view._rows.values())
        await pilot.press("t", "u")
        assert pids(view) == [1310537]
        assert "user mallory u next" in seen(view)
        await pilot.press("u")
        assert len(pids(view)) == 24
        await pilot.press("u")
        assert len(pids(view)) == 25

    simulated(size, scene)


@both
def test_tags_are_many_and_go_at_once(size: tuple[int, int]) -> None:
    """Space tags and goes on; another order keeps the tags; c takes all of them away."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        first, second = pids(view)[:2]
        await pilot.press("space", "space", "S", "G")
        assert [target.pid for target in view.listing.tagged.values()] == [first, second]
        assert "2 tagged c unmarks" in seen(view)
        await pilot.press("c")
        assert view.listing.tagged == {}

    simulated(size, scene)


@both
def test_the_detail_of_a_process_and_back(size: tuple[int, int]) -> None:
    """Enter tells everything, e the environment or why not, Esc goes back step by step and never out."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await pilot.pause()
        text = seen(view)
        for words in ("TP0 of 8", "7562bd1b-dc12-59f7-3bda-7df24829b4b6", "these processes are simulated"):
            assert words in text
        await pilot.press("e")
        await pilot.pause()
        assert "Its environment is not known: these processes are simulated." in seen(view)
        await pilot.press("escape")
        assert view.pane == "detail"
        await pilot.press("escape")
        assert view.pane == ""
        await pilot.press("escape")
        assert pilot.app.is_running

    simulated(size, scene)


def test_the_past_of_a_process_is_drawn_from_the_tape() -> None:
    """The charts hold the seconds before the view was ever opened."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await until(pilot, lambda: any("█" * 15 in line for line in seen(view).splitlines()))

    simulated(LARGE, scene)


@both
def test_rows_are_chosen_and_opened_by_mouse(size: tuple[int, int]) -> None:
    """A click puts the cursor, another one opens; the wheel moves it."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        third = pids(view)[2]
        y = next(place for place, line in enumerate(seen(view).splitlines()) if str(third) in line)
        await pilot.click(view, offset=(20, y))
        await pilot.pause()
        assert chosen(view) == third
        await pilot.click(view, offset=(20, y))
        await pilot.pause()
        assert view.pane == "detail"

    simulated(size, scene)


def test_the_bar_of_keys_is_there_where_there_is_room() -> None:
    """Every key of the bar can be clicked; a small terminal keeps its line for a process."""

    async def large(view: ProcessesView, pilot: Pilot[None]) -> None:
        bar = view.size.height - 1
        actions = {hit.action: hit for hit in view._hits if hit.y == bar}
        assert {"filter", "sort_menu", "tree", "group", "tag", "open", "environment", "signal_menu"} <= set(actions)
        await pilot.click(view, offset=(actions["group"].x, bar))
        await pilot.pause()
        assert view.listing.grouping == "gpu"

    async def small(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert not [hit for hit in view._hits if hit.action == "signal_menu"]

    simulated(LARGE, large)
    simulated(SMALL, small)


def test_absent_columns_say_why() -> None:
    """The pointer on a dash of the host's columns tells the reason; what MIG slice it is stands in its column."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert "3g.40gb" in seen(view)
        tips = {hit.tip for hit in view._hits}
        assert "Not known: these processes are simulated." in tips

    simulated(LARGE, scene, "h100-mig")


def test_a_lost_gpu_and_hidden_pids_are_said() -> None:
    """Neither is passed over in silence."""

    async def lost(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert "GPU 3 tells no processes: the GPU is lost" in seen(view)

    simulated(SMALL, lost, "dgx-h100-8+lost@3")

    async def hidden(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert "1 not visible from here" in seen(view)

    play(local_app(frame_with([[Process(pid=99, visible=False)]], time.time())), SMALL, hidden)


def test_nothing_at_all_is_said_in_words() -> None:
    """An empty list is explained."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert "No process holds a GPU." in seen(view)
        await pilot.press("space", "enter", "e", "k", "down", "S", "t", "G")
        assert pilot.app.is_running

    play(local_app(frame_with([[]], time.time())), SMALL, scene)


def _refused(app: GpuwatchApp, words: str) -> None:
    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("k")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, Choice)
        assert any(words in notification.message for notification in pilot.app._notifications)

    play(app, SMALL, scene)


def test_signals_are_refused_where_nobody_would_get_them() -> None:
    """Simulated, read-only: the reason is said instead of the menu."""
    _refused(story("l4", 5).app(), "simulated")
    with ExitStack() as stack:
        frame = frame_with([[process_of(worker(stack).pid)]], time.time())
        _refused(local_app(frame, read_only=True), "read-only")


def test_in_the_past_the_past_is_shown_and_not_signalled() -> None:
    """The moment's processes are listed without what only the present has, and the refusal says how to come back."""
    with ExitStack() as stack:
        child = worker(stack)
        now = time.time()
        then = frame_with([[process_of(child.pid)]], now - 2)
        app = local_app(then)

        async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: child.pid in view._lookups.facts)
            app.feed.play(frame_with([[]], now))  # type: ignore[attr-defined]  # a recorded feed
            app.show_now()
            assert pids(view) == []
            await pilot.press("left")
            await pilot.pause()
            assert pids(view) == [child.pid]
            assert view._lookups.facts == {}
            assert "Not known: time stands still, and this is read for the present only." in {
                hit.tip for hit in view._hits
            }
            await pilot.press("f9")
            await pilot.pause()
            assert not isinstance(app.screen, Choice)
            assert any("This is the past" in notification.message for notification in app._notifications)

        play(app, LARGE, scene)
        assert child.poll() is None


@both
def test_a_signal_needs_a_yes_and_tells_what_became_of_it(size: tuple[int, int]) -> None:
    """k, the signal, who it hits; Enter on the question is No, y sends; the words are on the screen."""
    with ExitStack() as stack:
        child = worker(stack)

        async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
            await pilot.press("k")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            question = pilot.app.screen
            assert isinstance(question, ConfirmSignal)
            assert str(child.pid) in words_of(pilot.app, "#those")
            await pilot.press("enter")
            await pilot.pause()
            assert not isinstance(pilot.app.screen, ConfirmSignal)
            assert child.poll() is None, "Enter on the question sends nothing"
            await pilot.press("f9")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press("y")
            await until(pilot, lambda: words_of(pilot.app, "#question") == "SIGTERM: delivered")
            await pilot.press("escape")
            await pilot.pause()
            assert not isinstance(pilot.app.screen, ConfirmSignal)

        play(local_app(frame_with([[process_of(child.pid)]], time.time())), size, scene)
        assert child.wait() == -SIGTERM


def test_several_tagged_ones_each_get_their_word() -> None:
    """One lives, one has ended, one's PID belongs to another now: three words, and only the first was hit."""
    with ExitStack() as stack:
        lives, ended, other = worker(stack), worker(stack), worker(stack)
        processes = [process_of(child.pid) for child in (lives, ended, other)]
        assert processes[2].started_at is not None
        processes[2] = structs.replace(processes[2], started_at=processes[2].started_at - 500)
        ended.communicate()

        async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
            await pilot.press("space", "space", "space", "k")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press("y")
            await until(pilot, lambda: words_of(pilot.app, "#question").startswith("SIGTERM: "))
            told = words_of(pilot.app, "#those")
            assert "delivered: SIGTERM was sent" in told
            assert "gone: it had ended before" in told
            assert "now belongs to another process" in told
            await pilot.press("escape")
            await pilot.pause()
            assert view.listing.tagged == {}

        play(local_app(frame_with([processes], time.time())), LARGE, scene)
        assert lives.wait() == -SIGTERM
        assert other.poll() is None


def test_this_machines_processes_have_host_columns_parents_and_environment() -> None:
    """CPU and memory come from /proc, the tree has this test as the parent, the environment is readable."""
    with ExitStack() as stack:
        child = worker(stack, environ={"API_KEY": "secret", "RANK": "0"})

        async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: child.pid in view._lookups.facts)
            assert view._lookups.facts[child.pid].rss_bytes
            await pilot.press("t", "e")
            await until(pilot, lambda: "RANK" in seen(view))
            text = seen(view)
            assert "└─ python" in text
            assert "•••" in text
            assert "secret" not in text

        play(local_app(frame_with([[process_of(child.pid)]], time.time())), LARGE, scene)


def test_a_browser_that_may_only_read_is_not_shown_environments() -> None:
    """Whoever is on the machine may be looking, and the kernel would not show it to him."""
    with ExitStack() as stack:
        child = worker(stack, environ={"RANK": "0", "PLACE": "somewhere private"})

        async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
            view.dashboard.take_settings(DashboardSection(read_only=True), locked=True)
            await pilot.press("e")
            await until(pilot, lambda: "A browser that may only read is not shown it." in seen(view))
            assert "somewhere private" not in seen(view)

        play(local_app(frame_with([[process_of(child.pid)]], time.time())), LARGE, scene)


def test_the_detail_of_a_process_that_ended_closes_with_a_word() -> None:
    """Another process never takes the place of the one that was read about."""
    now = time.time()
    first, second = (Process(pid=pid, started_at=1.0, memory_bytes=9 - pid) for pid in (5, 6))

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert view.pane == "detail"
        view.dashboard.feed.play(frame_with([[second]], now + 1))  # type: ignore[attr-defined]  # a recorded feed
        await until(pilot, lambda: view.pane == "")
        await until(pilot, lambda: any("PID 5 holds no GPU" in one.message for one in pilot.app._notifications))

    play(local_app(frame_with([[first, second]], now)), SMALL, scene)


def test_what_is_copied_is_the_whole_list() -> None:
    """All rows as text, also those below the screen's edge; as data only those asked for."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert all(str(pid) in view.as_text() for pid in pids(view))
        assert not all(str(pid) in seen(view) for pid in pids(view))
        view.filter_by("user:mallory")
        data = view.as_data()
        assert isinstance(data, list)
        assert [one["process"].pid for one in data] == [1310537]

    simulated(SMALL, scene)


def test_no_size_breaks_it() -> None:
    """From 40 by 10 to 300 by 80, with and without a pane, in every arrangement, nothing is wider than the screen."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        assert view.moment is not None
        for width, height in ((40, 6), (60, 11), (80, 20), (120, 36), (200, 56), (300, 76)):
            for pane in ("", "detail", "environment"):
                for _ in range(5):
                    view.pane = pane
                    drawing = view.picture(view.moment, width, height)
                    assert len(drawing.lines) <= height
                    assert all(line_cells(line) <= width for line in drawing.lines)
                    view.action_group()
            view.action_tree()

    for spec in ("dgx-h100-8+noisy-neighbour@1", "h100-mig", "dgx2-v100-16+lost@3", "none"):
        simulated(SMALL, scene, spec)


def test_enter_on_a_gpus_head_leads_to_the_gpu() -> None:
    """From its processes to everything about it."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("G", "up", "enter")
        await pilot.pause()
        assert view.dashboard.here == "gpu"
        assert view.moment is not None
        assert view.dashboard.chosen_gpu == view.moment.frame.gpus[0].uuid

    simulated(SMALL, scene)


def test_tags_do_not_go_along_to_another_node() -> None:
    """A PID that was tagged on one machine is nobody's on the next."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        assert view.moment is not None
        assert view.listing.tagged
        view.show(structs.replace(view.moment, feed=FeedState(kind="remote", where="http://node08:9489")))
        assert view.listing.tagged == {}

    simulated(SMALL, scene)


def test_the_detail_of_a_slices_process_is_about_its_slice() -> None:
    """Memory against what the MIG instance holds, and no share where the driver tells none."""

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        assert "GPU memory 21.0 GiB of 39.5" in seen(view)
        assert "SM share – not told by the driver now" in seen(view)

    simulated(LARGE, scene, "h100-mig")


def test_the_detail_is_about_all_gpus_of_a_process() -> None:
    """Also where it was opened from the list of one GPU."""
    process = Process(pid=5, started_at=1.0, memory_bytes=3 << 30)

    async def scene(view: ProcessesView, pilot: Pilot[None]) -> None:
        await pilot.press("G", "enter")
        assert "0-1, 6.0 GiB in all" in seen(view)

    play(local_app(frame_with([[process], [process]], time.time())), LARGE, scene)
