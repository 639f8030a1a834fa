"""Messages to one target: tried again, given up, dropped, and never in anybody's way."""

import threading

import pytest

from gpuwatch_agent.notify.courier import MOST_WAITING, Courier
from gpuwatch_agent.notify.message import Message, trial_message
from gpuwatch_agent.notify.target import DeliveryError
from support.reading import SettableClock


def message(number: int = 0) -> Message:
    return trial_message(message_id=f"m{number}", node="node07", simulated=False, at=0.0)


class FlakyTarget:
    """Fails with each of these in turn, then works."""

    name = "flaky"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.got: list[str] = []

    def send(self, one: Message) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(one.id)


class Road:
    """A courier whose pauses pass at once, on a clock that they move."""

    def __init__(self, target: FlakyTarget, chance: float = 1.0, *, ends: bool = False) -> None:
        self.clock = SettableClock(0.0)
        self.pauses: list[float] = []
        self.courier = Courier(
            target, clock=self.clock, wall_clock=lambda: 77.0, chance=lambda: chance, wait=self._wait
        )
        self._ends = ends

    def _wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.clock.now += seconds
        return self._ends


def again(reason: str = "busy", not_before_s: float = 0.0) -> DeliveryError:
    return DeliveryError(reason, again=True, not_before_s=not_before_s)


def test_pauses_double_and_spread() -> None:
    """2, 4, 8 … 300 seconds at the most, and between half of that and all of it, as chance has it."""
    failures = [again() for _ in range(10)]
    late, early = Road(FlakyTarget(*failures), 1.0), Road(FlakyTarget(*failures), 0.0)
    for road in (late, early):
        road.courier.post(message())
        assert road.courier.deliver_next()
    assert late.pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert early.pauses == [pause / 2 for pause in late.pauses]
    account = late.courier.account()
    assert (account.sent, account.failed, account.retried, account.last_error, account.last_sent_at) == (
        1,
        0,
        10,
        None,
        77,
    )


def test_a_receiver_that_wants_peace_gets_it() -> None:
    """Retry-After is longer than our own pause, so it holds."""
    road = Road(FlakyTarget(again(not_before_s=90.0)))
    road.courier.post(message())
    road.courier.deliver_next()
    assert road.pauses == [90.0]


def test_after_an_hour_it_is_given_up() -> None:
    """The message counts as failed with the reason, and the next is carried."""
    target = FlakyTarget(*[again("gone") for _ in range(21)])
    road = Road(target)
    road.courier.post(message(1))
    while target.failures:
        road.courier.post(message(2))
        road.courier.deliver_next()
        if road.courier.account().failed:
            break
    account = road.courier.account()
    assert (account.failed, account.sent, account.last_error) == (1, 0, "gone")
    assert 3000 < road.clock.now <= 3600


def test_what_can_not_help_is_not_repeated() -> None:
    """A refused token stays refused."""
    target = FlakyTarget(DeliveryError("it answers 403 Forbidden", again=False))
    road = Road(target)
    road.courier.post(message(1))
    road.courier.post(message(2))
    assert road.courier.deliver_next()
    assert road.courier.account().last_error == "it answers 403 Forbidden"
    assert road.courier.deliver_next()
    assert not road.courier.deliver_next()
    assert (road.pauses, target.got) == ([], ["m2"])


def test_the_oldest_is_dropped_and_counted() -> None:
    """The queue has an end, and what is new matters more."""
    target = FlakyTarget()
    road = Road(target)
    for number in range(MOST_WAITING + 3):
        road.courier.post(message(number))
    account = road.courier.account()
    assert (account.dropped, account.waiting) == (3, MOST_WAITING)
    while road.courier.deliver_next():
        pass
    assert target.got == [f"m{number}" for number in range(3, MOST_WAITING + 3)]


def test_a_bug_in_a_target_is_a_failure_with_a_name() -> None:
    """Without its words, which may hold an address."""
    road = Road(FlakyTarget(ZeroDivisionError("https://secret")))
    road.courier.post(message())
    road.courier.deliver_next()
    account = road.courier.account()
    assert (account.failed, account.last_error) == (1, "a bug: ZeroDivisionError")


def test_the_end_interrupts_a_pause() -> None:
    """Who is told to end does not wait five minutes to try again."""
    road = Road(FlakyTarget(again(), again()), ends=True)
    road.courier.post(message())
    road.courier.deliver_next()
    assert len(road.pauses) == 1
    assert road.courier.account().failed == 1


@pytest.mark.parametrize("waiting", [0, 3])
def test_the_thread_carries_what_waits_and_ends(waiting: int) -> None:
    """The real thread: everything leaves before the end, and the end comes."""
    target = FlakyTarget()
    courier = Courier(target)
    courier.start()
    for number in range(waiting):
        courier.post(message(number))
    courier.end(10)
    assert target.got == [f"m{number}" for number in range(waiting)]
    assert courier.account().sent == waiting


def test_a_target_that_hangs_holds_nobody_up() -> None:
    """`post` returns while the thread is stuck in a send, and so does the end."""

    class Stuck:
        name = "stuck"
        begun, release = threading.Event(), threading.Event()

        def send(self, one: Message) -> None:
            self.begun.set()
            self.release.wait(20)

    stuck = Stuck()
    courier = Courier(stuck)
    courier.start()
    courier.post(message(0))
    assert stuck.begun.wait(10)
    for number in range(MOST_WAITING + 1):
        courier.post(message(number))
    assert courier.account().dropped == 1
    courier.end(0.0)
    stuck.release.set()
