"""Tells people what was found: from the engine's events to every configured target, without ever waiting."""

from collections.abc import Callable, Sequence
from secrets import token_hex

from gpuwatch_agent.config import NotifySection
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Frame, TargetAccount
from gpuwatch_agent.notify.apprise_target import AppriseTarget
from gpuwatch_agent.notify.courier import Courier
from gpuwatch_agent.notify.outbox import Outbox
from gpuwatch_agent.notify.target import Target
from gpuwatch_agent.notify.webhook import WebhookTarget

_LEAVING_S = 1.0


class Notifier:
    """Lives on the agent's loop: events come in between frames, messages leave with the next frame."""

    def __init__(
        self,
        settings: NotifySection,
        couriers: Sequence[Courier],
        clock: Callable[[], float],
        new_id: Callable[[], str] = lambda: token_hex(8),
    ) -> None:
        self._outbox = Outbox(settings, new_id)
        self._couriers = list(couriers)
        self._clock = clock
        self._last: Frame | None = None

    def start(self) -> None:
        """Begin to carry messages."""
        for courier in self._couriers:
            courier.start()

    def note(self, event: FindingEvent) -> None:
        """Take in what the engine says."""
        self._outbox.note(event, self._clock())

    def tick(self, frame: Frame) -> None:
        """Once a frame: send what is due."""
        self._last = frame
        message = self._outbox.due(self._clock(), wall=frame.taken_at, node=frame.node, simulated=frame.simulated)
        if message is not None:
            for courier in self._couriers:
                courier.post(message)

    def accounts(self) -> list[TargetAccount]:
        """How each target fares."""
        return [courier.account() for courier in self._couriers]

    def end(self) -> None:
        """Send what is known, and give it a moment to leave."""
        if self._last is not None:
            self._outbox.hurry()
            self.tick(self._last)
        for courier in self._couriers:
            courier.end(_LEAVING_S / len(self._couriers))


def make_targets(settings: NotifySection) -> list[Target]:
    """Every configured target; raises `UsageError` where one makes no sense."""
    targets: list[Target] = [AppriseTarget(settings.urls, number) for number in range(len(settings.urls))]
    if settings.webhook:
        targets.append(WebhookTarget(settings.webhook, timeout_s=settings.timeout_s))
    return targets


def make_notifier(settings: NotifySection, clock: Callable[[], float]) -> Notifier | None:
    """The notifier that the configuration asks for, `None` where it names no target."""
    known = [detector.kind for detector in DETECTORS]
    strangers = [kind for kind in settings.quiet_kinds if kind not in known]
    if strangers:
        raise UsageError(
            f"notify.quiet_kinds names {strangers[0]!r}, which is no kind.", f"There are: {', '.join(known)}."
        )
    targets = make_targets(settings)
    return Notifier(settings, [Courier(target, clock=clock) for target in targets], clock) if targets else None
