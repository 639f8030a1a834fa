"""Decides what is told when: findings of one moment in one message, not too many messages, nothing left untold.

It keeps what receivers have been told beside what is so now, and a message is the difference. So a message that is held
back by the limit loses nothing, and what came and went back to what was told needs no message at all.
"""

from collections import deque
from collections.abc import Callable

from gpuwatch_agent.config import NotifySection
from gpuwatch_agent.model.finding import Finding, FindingEvent, tells_the_same
from gpuwatch_agent.notify.message import RANKS, Message, compose

_HOUR_S = 3600.0
_LATE_S = 60.0

Key = tuple[str, str]


class Outbox:
    """`note` takes events in, `due` gives a message when it is time; both are quick, and time is passed in."""

    def __init__(self, settings: NotifySection, new_id: Callable[[], str]) -> None:
        self._settings = settings
        self._least = RANKS[settings.min_severity]
        self._quiet = frozenset(settings.quiet_kinds)
        self._new_id = new_id
        self._now: dict[Key, Finding] = {}
        self._told: dict[Key, Finding] = {}
        self._flashed: dict[Key, Finding] = {}
        """Raised and over again before it could be told."""
        self._waiting_since: float | None = None
        self._last_at: float | None = None
        self._sent_at: deque[float] = deque()

    def note(self, event: FindingEvent, now: float) -> None:
        """Something was raised, changed or cleared."""
        finding = event.finding
        if finding.kind in self._quiet:
            return
        key = (finding.kind, finding.key or str(finding.gpus))
        if event.event == "cleared":
            before = self._now.pop(key, finding)
            if key not in self._told and self._is_loud(before):
                self._flashed[key] = finding
        else:
            self._now[key] = finding
            self._flashed.pop(key, None)
        if not self._flashed and not any(self._difference()):
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def due(self, now: float, *, wall: float, node: str, simulated: bool) -> Message | None:
        """The message that should leave now, if one should."""
        waiting = self._waiting_since is not None and now - self._waiting_since >= self._settings.group_s
        if not waiting and not self._reminder_is_due(now):
            return None
        while self._sent_at and now - self._sent_at[0] >= _HOUR_S:
            self._sent_at.popleft()
        if len(self._sent_at) >= self._settings.most_per_hour:
            return None
        message = (
            self._message(now, wall, node, simulated=simulated) if waiting else self._reminder(wall, node, simulated)
        )
        self._sent_at.append(now)
        self._last_at = now
        return message

    def hurry(self) -> None:
        """Wait for no more of the same moment: the agent ends."""
        if self._waiting_since is not None:
            self._waiting_since = float("-inf")

    def _is_loud(self, finding: Finding) -> bool:
        return RANKS[finding.severity] >= self._least

    def _difference(self) -> tuple[list[Key], list[Key], list[Key]]:
        """What was raised, changed and cleared since receivers were told."""
        raised = [key for key, finding in self._now.items() if key not in self._told and self._is_loud(finding)]
        changed = [
            key for key, told in self._told.items() if key in self._now and _reads_otherwise(self._now[key], told)
        ]
        return raised, changed, [key for key in self._told if key not in self._now]

    def _message(self, now: float, wall: float, node: str, *, simulated: bool) -> Message:
        raised, changed, cleared = self._difference()
        message = compose(
            message_id=self._new_id(),
            about="findings",
            node=node,
            simulated=simulated,
            at=wall,
            raised=[self._now[key] for key in raised],
            changed=[self._now[key] for key in changed],
            cleared=[*(self._told[key] for key in cleared), *self._flashed.values()],
            note=self._lateness(now),
        )
        for key in (*raised, *changed):
            self._told[key] = self._now[key]
        for key in cleared:
            del self._told[key]
        self._flashed.clear()
        self._waiting_since = None
        return message

    def _lateness(self, now: float) -> str:
        late_s = now - (self._waiting_since or 0.0) - self._settings.group_s
        if not _LATE_S <= late_s < float("inf"):
            return ""
        return f"(Held back for {late_s / 60:.0f} min: at most {self._settings.most_per_hour} messages an hour.)"

    def _reminder_is_due(self, now: float) -> bool:
        every = self._settings.repeat_every_s
        return bool(every and self._told and self._last_at is not None and now - self._last_at >= every)

    def _reminder(self, wall: float, node: str, simulated: bool) -> Message:  # private, named by its only caller
        return compose(
            message_id=self._new_id(),
            about="reminder",
            node=node,
            simulated=simulated,
            at=wall,
            ongoing=[self._now.get(key, told) for key, told in self._told.items()],
        )


def _reads_otherwise(finding: Finding, told: Finding) -> bool:
    """Whether whoever was told would act on something else now."""
    return finding.severity != told.severity or not tells_the_same(finding, told)
