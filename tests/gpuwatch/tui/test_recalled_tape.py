from gpuwatch.tui.player import Player
from gpuwatch.tui.tape import Tape
from support.sample_frames import sample_frame


def test_the_past_is_put_before_what_is_kept() -> None:
    """Older frames come to lie before the first, in order and unchanged, while new ones are recorded behind."""
    tape = Tape()
    tape.record(sample_frame(1000))
    for tick in range(999, 700, -1):
        tape.recall(sample_frame(tick))
        if tick % 100 == 0:
            tape.record(sample_frame(2000 - tick))
    assert tape.oldest_at == sample_frame(701).taken_at
    for tick in (701, 850, 999, 1000, 1100):
        assert tape.at(sample_frame(tick).taken_at) == sample_frame(tick)


def test_what_is_not_older_or_has_no_room_is_left_out() -> None:
    """A full tape forgets no newer frame for an older one, and nothing gets in twice."""
    tape = Tape(seconds=3)
    tape.record(sample_frame(10))
    tape.recall(sample_frame(10))
    assert len(tape) == 1
    for tick in (9, 8, 7, 6):
        tape.recall(sample_frame(tick))
    assert len(tape) == 3
    assert tape.oldest_at == sample_frame(8).taken_at
    assert tape.newest_at == sample_frame(10).taken_at


def test_the_moment_shown_stays_while_the_past_comes_in() -> None:
    """Recalled frames can be gone back to, and do not become the newest."""
    player = Player(Tape())
    player.deliver(sample_frame(10))
    player.recall(sample_frame(9))
    assert player.frame == sample_frame(10)
    player.step(-1.0)
    assert player.frame == sample_frame(9)
