"""What is told when."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gpuwatch_agent.config import NotifySection
from gpuwatch_agent.model.finding import Finding, FindingEvent, Severity
from gpuwatch_agent.notify.message import Message
from gpuwatch_agent.notify.outbox import Outbox

WALL = 1_795_176_000.0


def finding(gpu: int = 0, severity: Severity = "warning", kind: str = "xid") -> Finding:
    return Finding(
        kind=kind,
        severity=severity,
        gpus=[gpu],
        since=WALL,
        summary=f"GPU {gpu} is odd.",
        cause="Dust.",
        action="Look.",
        key=f"GPU-{gpu}",
    )


class Desk:
    """An outbox and its day: what happens at a second, and what leaves by then."""

    def __init__(self, **settings: object) -> None:
        numbers = itertools.count(1)
        self.outbox = Outbox(structs.replace(NotifySection(), **settings), lambda: f"m{next(numbers)}")
        self.second = 0

    def happens(self, what: str, one: Finding) -> None:
        event = FindingEvent(event=what, at=WALL + self.second, finding=one)  # type: ignore[arg-type]  # one of three words
        self.outbox.note(event, float(self.second))

    def passes(self, seconds: int) -> list[Message]:
        """Second by second, as the agent asks."""
        left = []
        for _ in range(seconds):
            self.second += 1
            message = self.outbox.due(float(self.second), wall=WALL + self.second, node="node07", simulated=False)
            if message is not None:
                left.append(message)
        return left


def test_findings_of_one_moment_are_one_message() -> None:
    """Half a minute is waited from the first, then all that came leave together, the worst named."""
    desk = Desk()
    desk.happens("raised", finding(1))
    assert desk.passes(20) == []
    desk.happens("raised", finding(2, "critical"))
    assert desk.passes(9) == []
    (message,) = desk.passes(60)
    assert [one.gpus for one in message.raised] == [[1], [2]]
    assert message.title == "node07: ✖ critical: GPU 2 is odd. (and 1 more)"
    assert message.text.index("GPU 2 is odd.") < message.text.index("GPU 1 is odd.")
    assert (message.severity, message.about, message.id) == ("critical", "findings", "m1")
    for words in ("why: Dust.", "→ Look.", "more: gpuwatch runbook xid", "since 20"):
        assert words in message.text


def test_another_culprit_is_one_message() -> None:
    """Who was sent to one GPU hears that it is another; new numbers in the same words are no news."""
    desk = Desk(group_s=0.0)
    first = structs.replace(finding(), cause="Its slot is at 88 °C.")
    desk.happens("raised", first)
    assert len(desk.passes(1)) == 1
    desk.happens("changed", structs.replace(first, gpus=[3], summary="GPU 3 is odd.", cause="Its slot is at 90 °C."))
    (message,) = desk.passes(60)
    assert (message.raised, [one.gpus for one in message.changed], message.cleared) == ([], [[3]], [])
    assert "changed: GPU 3 is odd." in message.text
    desk.happens("changed", structs.replace(first, gpus=[3], cause="Its slot is at 91.5 °C."))
    assert desk.passes(60) == []


def test_the_end_is_told_to_who_heard_of_the_beginning() -> None:
    """A resolve message, in which nothing is open."""
    desk = Desk(group_s=0.0)
    desk.happens("raised", finding())
    assert len(desk.passes(1)) == 1
    desk.happens("cleared", finding())
    (message,) = desk.passes(1)
    assert (message.title, message.severity) == ("node07: over: GPU 0 is odd.", None)
    assert message.cleared == [finding()]


def test_what_gets_worse_is_told_again() -> None:
    """A change of severity is a message; one that was told and is back as it was is none."""
    desk = Desk()
    desk.happens("raised", finding())
    assert len(desk.passes(40)) == 1
    desk.happens("changed", finding(severity="critical"))
    (message,) = desk.passes(40)
    assert message.changed == [finding(severity="critical")]
    desk.happens("cleared", finding(severity="critical"))
    desk.passes(5)
    desk.happens("raised", finding(severity="critical"))
    assert desk.passes(100) == []


def test_what_came_and_went_in_between_is_told_as_over() -> None:
    """Nothing that is loud enough is kept quiet because it was short."""
    desk = Desk()
    desk.happens("raised", finding())
    desk.passes(5)
    desk.happens("cleared", finding())
    (message,) = desk.passes(60)
    assert (message.raised, message.cleared, message.severity) == ([], [finding()], None)
    assert desk.passes(1000) == []


@pytest.mark.parametrize(
    "settings", [{"min_severity": "critical"}, {"quiet_kinds": ["xid"]}], ids=["too low", "a quiet kind"]
)
def test_what_is_not_wanted_is_not_told(settings: dict[str, object]) -> None:
    """Neither its beginning nor its end, nor in a reminder."""
    desk = Desk(**settings)
    desk.happens("raised", finding())
    assert desk.passes(20_000) == []
    desk.happens("cleared", finding())
    assert desk.passes(100) == []


def test_what_grows_loud_is_told_then() -> None:
    """An info that becomes a warning is raised for who is told of warnings; sunk again, that is told, too."""
    desk = Desk()
    desk.happens("raised", finding(severity="info"))
    assert desk.passes(100) == []
    desk.happens("changed", finding(severity="warning"))
    (message,) = desk.passes(100)
    assert message.raised == [finding(severity="warning")]
    desk.happens("changed", finding(severity="info"))
    (message,) = desk.passes(100)
    assert message.changed == [finding(severity="info")]


def test_what_lasts_is_told_again() -> None:
    """At the wanted interval after the last message, as it is now, until it is over; with 0 never."""
    desk = Desk(repeat_every_s=600.0)
    desk.happens("raised", finding())
    assert len(desk.passes(31)) == 1
    (reminder,) = desk.passes(610)
    assert (reminder.about, reminder.ongoing) == ("reminder", [finding()])
    assert reminder.title == "node07: ▲ still warning: GPU 0 is odd."
    desk.happens("cleared", finding())
    assert [message.about for message in desk.passes(2000)] == ["findings"]
    silent = Desk(repeat_every_s=0.0)
    silent.happens("raised", finding())
    assert len(silent.passes(20_000)) == 1


def test_too_many_messages_become_one() -> None:
    """Above the limit nothing is lost: it leaves as one message when the hour allows, and says why so late."""
    desk = Desk(group_s=0.0, most_per_hour=2, repeat_every_s=0.0)
    left = []
    for gpu in range(6):
        desk.happens("raised", finding(gpu))
        left += desk.passes(60)
    assert len(left) == 2
    left += desk.passes(3600)
    assert len(left) == 3
    assert [one.gpus for one in left[2].raised] == [[2], [3], [4], [5]]
    assert "(Held back for 58 min: at most 2 messages an hour.)" in left[2].text


def test_who_ends_waits_no_longer() -> None:
    """What is known leaves before the agent does, without a word about lateness."""
    desk = Desk()
    desk.happens("raised", finding())
    desk.outbox.hurry()
    (message,) = desk.passes(1)
    assert "Held back" not in message.text


def test_simulated_nodes_say_so() -> None:
    """Nobody gets up at night for a simulation."""
    outbox = Outbox(NotifySection(group_s=0.0), lambda: "m")
    outbox.note(FindingEvent(event="raised", at=WALL, finding=finding()), 0.0)
    message = outbox.due(1.0, wall=WALL, node="node07", simulated=True)
    assert message is not None
    assert message.title.startswith("node07 (SIMULATED): ")


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["info", "warning", "critical", None]), st.integers(1, 50))),
    st.integers(1, 5),
)
def test_in_the_end_everybody_knows_what_is(story: list[tuple[int, Severity | None, int]], most: int) -> None:
    """Whatever happens in whatever order: who believes the messages ends with what is so, and no hour has too many."""
    desk = Desk(most_per_hour=most, repeat_every_s=0.0)
    now: dict[int, Severity] = {}
    messages: list[Message] = []
    for gpu, severity, pause in story:
        if severity is None and gpu in now:
            desk.happens("cleared", finding(gpu, now.pop(gpu)))
        elif severity is not None:
            desk.happens("changed" if gpu in now else "raised", finding(gpu, severity))
            now[gpu] = severity
        messages += desk.passes(pause)
    messages += desk.passes(3700)
    believed: dict[int, Severity] = {}
    for message in messages:
        for one in (*message.raised, *message.changed):
            believed[one.gpus[0]] = one.severity
        for one in message.cleared:
            believed.pop(one.gpus[0], None)
    loud = {gpu: severity for gpu, severity in now.items() if severity != "info"}
    assert {gpu: severity for gpu, severity in believed.items() if severity != "info"} == loud
    moments = [message.at for message in messages]
    assert all(late - early >= 3600 for early, late in zip(moments, moments[most:], strict=False))
