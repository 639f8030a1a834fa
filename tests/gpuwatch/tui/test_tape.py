"""An hour of frames, as they were."""

from msgspec import structs

from gpuwatch.tui.tape import Tape
from support.dashboard_story import NOON, story


def test_frames_come_back_as_they_were() -> None:
    """What is unpacked equals what was recorded, findings and processes included."""
    frames = story("dgx-h100-8+hot@5", 60).frames
    tape = Tape()
    for frame in frames:
        tape.record(frame)
    assert [tape.at(frame.taken_at) for frame in frames] == list(frames)


def test_the_tape_forgets_what_is_older_than_its_length() -> None:
    """A ring of so many seconds."""
    frames = story("l4", 30).frames
    tape = Tape(seconds=10)
    for frame in frames:
        tape.record(frame)
    assert len(tape) == 10
    assert tape.oldest_at == frames[20].taken_at
    assert tape.at(frames[0].taken_at) == frames[20]


def test_several_frames_a_second_are_kept_as_one() -> None:
    """The last within a second wins, so that a fast pace does not shorten the hour."""
    frame = story("l4", 5).frames[-1]
    tape = Tape()
    for tenth in range(20):
        tape.record(structs.replace(frame, taken_at=NOON + tenth / 10))
    assert len(tape) == 2


def test_a_clock_put_back_drops_what_lies_ahead() -> None:
    """No frame on the tape is later than the newest one."""
    frame = story("l4", 5).frames[-1]
    tape = Tape()
    for second in (0, 1, 2, 3, 4):
        tape.record(structs.replace(frame, taken_at=NOON + second))
    tape.record(structs.replace(frame, taken_at=NOON + 1.5))
    assert tape.newest_at == NOON + 1.5
    assert len(tape) == 2


def test_gpus_that_come_and_go_are_recorded() -> None:
    """Frames of unlike size lie beside each other on one tape."""
    full = story("dgx-h100-8", 5).frames[-1]
    fewer = structs.replace(full, gpus=full.gpus[:3], taken_at=full.taken_at + 1)
    again = structs.replace(full, taken_at=full.taken_at + 2)
    tape = Tape()
    for frame in (full, fewer, again):
        tape.record(frame)
    assert [len(found.gpus) for at in (0, 1, 2) if (found := tape.at(full.taken_at + at))] == [8, 3, 8]


def test_an_hour_of_eight_gpus_is_small() -> None:
    """A second of eight busy GPUs with their processes takes less than 4 KiB."""
    tape = Tape()
    for frame in story("dgx-h100-8", 60).frames:
        tape.record(frame)
    assert tape.size_bytes() / len(tape) < 4096
