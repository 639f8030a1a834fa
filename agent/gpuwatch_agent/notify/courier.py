"""Carries messages to one target, on a thread of its own: a receiver that is slow or gone holds nobody else up."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from gpuwatch_agent.model.frame import TargetAccount
from gpuwatch_agent.notify.message import Message
from gpuwatch_agent.notify.target import DeliveryError, Target

MOST_WAITING = 32
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0
GIVE_UP_AFTER_S = 3600.0


class Courier:
    """`post` returns at once. `wait` sleeps so long or until the end, and says whether it is the end."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.target = target
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._ending = threading.Event()
        self._wait = wait if wait is not None else self._ending.wait
        self._waiting: deque[tuple[Message, float]] = deque()
        self._news = threading.Condition()
        self._sent = self._failed = self._retried = self._dropped = 0
        self._last_sent_at: float | None = None
        self._last_error: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to carry."""
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def post(self, message: Message) -> None:
        """Take a message; where too many wait, the oldest is dropped and counted."""
        with self._news:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append((message, self._clock()))
            self._news.notify()

    def end(self, within_s: float) -> None:
        """Give what waits so long to leave; a call that hangs ends with the process."""
        with self._news:
            self._ending.set()
            self._news.notify()
        if self._thread is not None:
            self._thread.join(within_s)

    def account(self) -> TargetAccount:
        """How it fares."""
        return TargetAccount(
            name=self.target.name,
            sent=self._sent,
            failed=self._failed,
            retried=self._retried,
            dropped=self._dropped,
            waiting=len(self._waiting),
            last_sent_at=self._last_sent_at,
            last_error=self._last_error,
        )

    def deliver_next(self) -> bool:
        """Carry the message that has waited longest, as often as it takes; false where none waits."""
        with self._news:
            if not self._waiting:
                return False
            message, posted_at = self._waiting.popleft()
        self._deliver(message, posted_at)
        return True

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting and not self._ending.is_set():
                    self._news.wait()
            if not self.deliver_next():
                return

    def _deliver(self, message: Message, posted_at: float) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            error = self._try(message)
            if error is None:
                self._sent += 1
                self._last_sent_at, self._last_error = self._wall_clock(), None
                return
            self._last_error = error.reason
            # Spread, so that a rack of nodes does not knock at a receiver that comes back all at once.
            wait_s = max(pause_s * (0.5 + self._chance() / 2), error.not_before_s)
            late = self._clock() + wait_s - posted_at > GIVE_UP_AFTER_S
            if not error.again or late or self._ending.is_set() or self._wait(wait_s):
                self._failed += 1
                return
            self._retried += 1
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _try(self, message: Message) -> DeliveryError | None:
        try:
            self.target.send(message)
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001  # a bug in one target is told in its account and ends no thread
            return DeliveryError(f"a bug: {type(error).__name__}", again=False)
        return None
