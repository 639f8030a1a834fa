"""Which moment is shown: the newest, or one on the tape where somebody stopped."""

from collections.abc import Sequence

from gpuwatch.tui.tape import Tape
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame


class Player:
    """Live until paused; pausing stops showing, not recording."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._newest: Frame | None = None
        self._shown: Frame | None = None

    def deliver(self, frame: Frame) -> None:
        """A new frame came in."""
        self._newest = frame
        self._tape.record(frame)

    def recall(self, frame: Frame) -> None:
        """A frame from before the oldest one came in."""
        self._tape.recall(frame)

    @property
    def paused(self) -> bool:
        """Whether the moment shown stays."""
        return self._shown is not None

    @property
    def frame(self) -> Frame | None:
        """The frame to show."""
        return self._shown if self._shown is not None else self._newest

    @property
    def newest(self) -> Frame | None:
        """The frame that came in last, whatever is shown."""
        return self._newest

    @property
    def oldest_at(self) -> float | None:
        """How far back one can go."""
        return self._tape.oldest_at

    def kept(self, moment: float) -> Frame | None:
        """The frame on the tape at that time, whatever is shown."""
        return self._tape.at(moment)

    def toggle(self) -> None:
        """Pause, or go on live."""
        self._shown = None if self.paused else self._newest

    def live(self) -> None:
        """Back to now."""
        self._shown = None

    def step(self, seconds: float) -> None:
        """That far back or ahead; stepping pauses, and stepping beyond the newest frame is going live."""
        shown = self.frame
        if shown is None or self._newest is None:
            return
        if seconds > 0 and not self.paused:
            return
        wanted = shown.taken_at + seconds
        if wanted >= self._newest.taken_at:
            self._shown = None
            return
        found = self._tape.at(wanted)
        if seconds > 0 and found is not None and found.taken_at <= shown.taken_at:
            found = self._tape.after(shown.taken_at)  # over a gap
        if found is not None:
            self._shown = found

    def go_to(self, moment: float) -> None:
        """To that wall clock time, or the nearest that is kept."""
        found = self._tape.at(moment)
        if found is not None:
            self._shown = found

    def oldest(self) -> None:
        """To the beginning of the tape."""
        if self._tape.oldest_at is not None:
            self.go_to(self._tape.oldest_at)

    def jump(self, events: Sequence[FindingEvent], *, forward: bool) -> FindingEvent | None:
        """To the next moment at which a finding was raised or cleared, in that direction; None where there is none."""
        shown = self.frame
        oldest = self._tape.oldest_at
        if shown is None or oldest is None:
            return None
        reachable = [event for event in events if event.at >= oldest]
        if forward:
            found = min((e for e in reachable if e.at > shown.taken_at + 1.0), key=lambda e: e.at, default=None)
        else:
            found = max((e for e in reachable if e.at < shown.taken_at - 1.0), key=lambda e: e.at, default=None)
        if found is not None:
            self.go_to(found.at + 0.5)
        return found
