"""Through Apprise's own json:// to a real server."""

import logging
from collections.abc import Iterator

import pytest

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.apprise_target import AppriseTarget
from gpuwatch_agent.notify.message import trial_message
from gpuwatch_agent.notify.target import DeliveryError
from support.receiver import Receiver, refusing_port, status

pytest.importorskip("apprise", reason="Apprise is not installed: pip install 'gpuwatch-node[notify]'")

MESSAGE = trial_message(message_id="m1", node="node07", simulated=False, at=5.0)


def target(port: int, *others: str) -> AppriseTarget:
    return AppriseTarget([f"json://127.0.0.1:{port}/secretpath", *others], 0)


def test_a_message_arrives() -> None:
    """Title, text and type as Apprise's JSON has them."""
    with Receiver() as receiver:
        target(receiver.port).send(MESSAGE)
        (body,) = receiver.messages(1)
    assert body["title"] == "node07: a test by gpuwatch"
    assert body["message"].startswith("gpuwatch on node07 can reach you.")
    assert body["type"] == "info"


class Overheard(logging.Handler):
    """What reaches the root logger, as a program's own log would."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def overheard() -> Iterator[list[str]]:
    handler = Overheard()
    logging.root.addHandler(handler)
    yield handler.lines
    logging.root.removeHandler(handler)


def test_a_failure_has_its_reason_and_no_secret(overheard: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """What Apprise writes to its log becomes the reason; nothing of it reaches another log or the terminal."""
    with Receiver([status(500)]) as receiver, pytest.raises(DeliveryError) as raised:
        target(receiver.port).send(MESSAGE)
    assert "500" in raised.value.reason
    with refusing_port() as port, pytest.raises(DeliveryError) as refused:
        target(port).send(MESSAGE)
    assert "Connection error" in refused.value.reason
    for reason in (raised.value.reason, refused.value.reason):
        assert "secretpath" not in reason
        assert "127.0.0.1" not in reason
    assert overheard == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("code", "again"), [(401, False), (403, False), (404, False), (429, True), (503, True)])
def test_a_refusal_is_given_up_and_the_rest_tried_again(code: int, again: bool) -> None:
    """A token that is wrong stays wrong, and must not hold up the messages behind it for an hour."""
    with Receiver([status(code)]) as receiver, pytest.raises(DeliveryError) as raised:
        target(receiver.port).send(MESSAGE)
    assert (raised.value.again, str(code) in raised.value.reason) == (again, True)
    with refusing_port() as port, pytest.raises(DeliveryError) as unreachable:
        target(port).send(MESSAGE)
    assert unreachable.value.again


def test_what_apprise_raises_is_a_reason() -> None:
    """Its plugins are a hundred people's code."""
    with Receiver() as receiver:
        one = target(receiver.port)

    class Broken:
        def notify(self, **_: object) -> bool:
            raise RuntimeError("at /secretpath")

    one._apprise = Broken()
    with pytest.raises(DeliveryError) as raised:
        one.send(MESSAGE)
    assert raised.value.reason == "RuntimeError: at /…"


def test_an_address_apprise_does_not_know() -> None:
    """Named by its place in the list, without being repeated."""
    with pytest.raises(UsageError) as raised:
        AppriseTarget(["json://localhost", "slak://secrettoken"], 1)
    assert "notify.urls: number 2 (slak://…) is no address that Apprise knows." in str(raised.value)
    assert "secrettoken" not in str(raised.value)
