"""A lost GPU stays in the group in which it worked."""

import asyncio
from collections.abc import Sequence

from msgspec import structs

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch.tui.memberships import Memberships, lost_of
from gpuwatch.tui.moment import FeedKind
from gpuwatch_agent.config import DashboardSection
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from support.dashboard_story import Story, story

_SPEC = "dgx-h100-8"
_LOST_FROM = 100


def _gone(gpu: Gpu) -> Gpu:
    return structs.replace(gpu, state="lost", problem="It has left the bus.", processes=None, power_w=9e6, age_s=20.0)


def _without(frame: Frame, index: int) -> Frame:
    return structs.replace(frame, gpus=[_gone(gpu) if gpu.index == index else gpu for gpu in frame.gpus])


def _story(index: int = 3) -> Story:
    """The GPU works, and is lost twenty seconds before the end."""
    told = story(_SPEC)
    frames = [_without(frame, index) if at >= _LOST_FROM else frame for at, frame in enumerate(told.frames)]
    return told._replace(frames=frames)


def _shown(view: str) -> Sequence[str]:
    async def look() -> Sequence[str]:
        app = _story().app()
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await app.action_show_view(view)
            await pilot.pause()
            return app.view.as_text().splitlines()

    return asyncio.run(look())


def test_a_lost_gpu_stays_in_its_group_at_its_rank() -> None:
    """Its place is the one it had while it answered, also when older frames are noted later."""
    frames = _story().frames
    known = Memberships()
    known.note(frames[0])
    (group,) = known.groups(frames[-1])
    assert group.indices == list(range(8))
    assert group.ranks == list(range(8))
    assert lost_of(group, frames[-1].gpus) == [3]


def test_what_was_never_seen_is_not_made_up() -> None:
    """A GPU that was lost before the first frame is in no group, even where a rank is missing."""
    last = _story().frames[-1]
    known = Memberships()
    known.note(last)
    (group,) = known.groups(last)
    assert group.indices == [0, 1, 2, 4, 5, 6, 7]


def test_who_left_the_group_before_it_was_lost_is_not_in_it() -> None:
    """The newest frame in which it answered counts, and a look back at an older one does not undo that."""
    frames = _story().frames
    idle = structs.replace(
        frames[50],
        gpus=[structs.replace(gpu, processes=[]) if gpu.index == 3 else gpu for gpu in frames[50].gpus],
    )
    known = Memberships()
    for frame in (frames[0], idle, frames[0]):
        known.note(frame)
    (group,) = known.groups(frames[-1])
    assert 3 not in group.indices


def test_the_overview_keeps_it_between_its_siblings() -> None:
    """In red between GPU 2 and GPU 4, and the group's title counts it."""
    lines = _shown("overview")
    assert any(" ⊘ 1 lost (7 of 8 ranks)" in line for line in lines)
    assert not any(" MW" in line or "9,00" in line for line in lines if line.startswith("─")), (
        "its last power counts no more"
    )
    rows = [line for line in lines if line[:6].strip(" ⊘").isdigit()][:8]
    assert [line[:6].strip(" ⊘") for line in rows] == list("01234567")
    assert "⊘" in rows[3]
    assert "lost 20 s" in rows[3]
    assert not any("in no group" in line or "not known" in line for line in lines)


def test_groups_say_which_rank_is_lost() -> None:
    """Not that all keep step."""
    lines = _shown("groups")
    assert any("It lost GPU 3" in line for line in lines)
    assert not any("keep step" in line for line in lines)
    assert any(line.startswith(" ⊘ TP3") and line.rstrip().endswith("lost") for line in lines)


def test_declared_groups_are_shown_of_this_machine_and_of_no_other() -> None:
    """[groups] of the configuration is what the agent here judges by; a remote agent has its own."""

    async def titles(kind: FeedKind) -> str:
        told = story(_SPEC)
        feed = RecordedFeed(told.frames, events=told.events, topology=told.topology, kind=kind)
        app = GpuwatchApp(feed, wall_clock=lambda: told.frames[-1].taken_at)
        app.take_settings(DashboardSection(), groups={"front": [0, 1], "back": [6, 7]})
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            return app.view.as_text()

    here, there = asyncio.run(titles("embedded")), asyncio.run(titles("remote"))
    assert "front (2 ranks)" in here
    assert "back (2 ranks)" in here
    assert "front" not in there


def test_another_node_begins_without_memories() -> None:
    """What was known of one node's groups is not said of another's."""

    async def turn() -> bool:
        app: GpuwatchApp = _story().app()
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            before = app._memberships
            app.follow(_story().feed())
            return app._memberships is not before

    assert asyncio.run(turn())
