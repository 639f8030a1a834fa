"""Going back in time and to now again."""

from gpuwatch.tui.player import Player
from gpuwatch.tui.tape import Tape
from gpuwatch_agent.model.frame import Frame
from support.dashboard_story import NOON, story


def _player(seconds: int = 40) -> Player:
    player = Player(Tape())
    for frame in story("dgx-h100-8+hot@5", 40).frames[:seconds]:
        player.deliver(frame)
    return player


def _second(frame: Frame | None) -> float:
    assert frame is not None
    return frame.taken_at - NOON


def test_live_follows_and_paused_stays() -> None:
    """Pausing stops showing, not recording."""
    frames = story("dgx-h100-8+hot@5", 40).frames
    player = _player(10)
    player.toggle()
    player.deliver(frames[10])
    assert (_second(player.frame), _second(player.newest)) == (9, 10)
    player.toggle()
    assert _second(player.frame) == 10


def test_stepping_back_pauses_and_stepping_to_the_end_goes_live() -> None:
    """One second is one frame; beyond the newest there is now."""
    player = _player()
    player.step(-1)
    player.step(-10)
    assert (player.paused, _second(player.frame)) == (True, 28)
    player.step(10)
    assert player.paused
    player.step(1)
    assert not player.paused


def test_before_the_oldest_there_is_the_oldest() -> None:
    """Nobody falls off the tape."""
    player = _player()
    player.step(-500)
    assert _second(player.frame) == 0
    player.live()
    assert _second(player.frame) == 39


def test_findings_can_be_jumped_between() -> None:
    """Brackets lead to the moments at which something was raised."""
    events = story("dgx-h100-8+hot@5", 40).events
    player = _player()
    last = player.jump(events, forward=False)
    assert last is not None
    assert abs(_second(player.frame) - (last.at - NOON)) <= 1
    before = player.jump(events, forward=False)
    assert before is not None
    assert before.at < last.at
    assert player.jump(events, forward=True) == last


def test_nothing_to_go_to_before_the_first_frame() -> None:
    """Keys before any data do nothing."""
    player = Player(Tape())
    player.step(-1)
    player.oldest()
    player.toggle()
    assert player.frame is None
    assert not player.paused
