"""The plain webhook against a real server that behaves, and ones that do not."""

import threading

import pytest

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.message import Message, trial_message
from gpuwatch_agent.notify.target import DeliveryError
from gpuwatch_agent.notify.webhook import WebhookTarget
from support.receiver import DRIP, HANG, Receiver, refusing_port, status

MESSAGE = trial_message(message_id="m1", node="node07", simulated=True, at=5.0)


def failure(url: str, timeout_s: float = 10.0, message: Message = MESSAGE) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        WebhookTarget(url, timeout_s=timeout_s).send(message)
    return raised.value


def test_the_message_arrives_as_json() -> None:
    """With path, query and login as the address has them."""
    with Receiver() as receiver:
        url = receiver.url.replace("//", "//me:p%40ss@") + "/hook/1?key=2"
        WebhookTarget(url, timeout_s=10).send(MESSAGE)
        (body,) = receiver.messages(1)
    assert (body["id"], body["about"], body["node"], body["simulated"], body["schema"]) == (
        "m1",
        "test",
        "node07",
        True,
        1,
    )
    (head,) = receiver.heads
    assert head.startswith("POST /hook/1?key=2 HTTP/1.1\r\n")
    assert "Authorization: Basic bWU6cEBzcw==" in head
    assert "Content-Type: application/json" in head


@pytest.mark.parametrize(
    ("code", "headers", "again", "not_before_s"),
    [
        (500, "", True, 0),
        (503, "Retry-After: 120\r\n", True, 120),
        (429, "Retry-After: 99999999\r\n", True, 3600),
        (429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", True, 0),
        (404, "", False, 0),
        (401, "", False, 0),
        (301, "Location: http://elsewhere/\r\n", False, 0),
    ],
)
def test_answers_that_are_no_success(
    code: int, headers: str, again: bool, not_before_s: float
) -> None:  # a parameter of the case
    """Told by number; tried again where that can help, and not before the receiver wants it."""
    with Receiver([status(code, headers)]) as receiver:
        error = failure(receiver.url)
    assert f"it answers {code}" in error.reason
    assert (error.again, error.not_before_s) == (again, not_before_s)


@pytest.mark.parametrize("answer", [HANG, DRIP], ids=["silent", "a letter at a time"])
def test_a_slow_receiver_is_left(answer: bytes) -> None:
    """The time-out is for the whole exchange: letters that trickle in do not stretch it."""
    with Receiver([answer]) as receiver:
        error = failure(receiver.url, timeout_s=0.2)
    assert (error.reason, error.again) == ("no whole answer within 0.2 s", True)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-"], ids=["none", "half a line", "half a head"]
)
def test_a_cut_off_answer_counts_as_none(answer: bytes) -> None:
    """Nobody knows whether it arrived: it is sent again, under the same id."""
    with Receiver([answer]) as receiver:
        target = WebhookTarget(receiver.url, timeout_s=5)
        if answer.endswith(b"Content-"):
            target.send(MESSAGE)  # the status has come whole, and it was good
        else:
            assert failure(receiver.url).again


def test_nobody_listens() -> None:
    """Told in the system's words, and tried again later."""
    with refusing_port() as port:
        error = failure(f"http://127.0.0.1:{port}/secretpath")
    assert (error.reason, error.again) == ("Connection refused", True)


def test_nonsense_for_an_answer() -> None:
    """A server of another protocol is an error like any other."""
    with Receiver([b"SSH-2.0-OpenSSH_9.2\r\n"]) as receiver:
        assert failure(receiver.url).again


@pytest.mark.parametrize(
    "url", ["ftp://x/secretpath", "https://", "http://h:port/secretpath", "http://[::1/secretpath"]
)
def test_an_address_that_is_none(url: str) -> None:
    """Refused at the start, without being repeated."""
    with pytest.raises(UsageError, match="is no http:// or https:// address") as raised:
        WebhookTarget(url, timeout_s=1)
    assert "secretpath" not in str(raised.value)


def test_no_alarm_is_left_behind() -> None:
    """The thread that would cut a slow exchange ends with the exchange."""
    with Receiver() as receiver:
        WebhookTarget(receiver.url, timeout_s=60).send(MESSAGE)
    alarms = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    for alarm in alarms:
        alarm.join(5)
        assert not alarm.is_alive()
