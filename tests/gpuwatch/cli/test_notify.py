"""`gpuwatch notify`: who is told, and whether that works."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwatch.cli import main
from support.receiver import Receiver, refusing_port, status


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have settings; these must not matter."""
    for name in [name for name in os.environ if name.startswith("GPUWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


Configured = Callable[[str], list[str]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """The flags of a configuration with this [notify] section."""

    def write(section: str) -> list[str]:
        file = tmp_path / "c.toml"
        file.write_text(f"[notify]\n{section}\n")
        return ["notify", "--config", str(file)]

    return write


def test_a_webhook_that_works(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0; the receiver has a message that calls itself a test."""
    with Receiver() as receiver:
        assert main([*configured(f'webhook = "{receiver.url}/secretpath"'), "--test", "--sim", "l4"]) == 0
        (body,) = receiver.messages(1)
    assert (body["about"], body["simulated"], body["severity"]) == ("test", True, None)
    out = capsys.readouterr().out
    assert out.startswith("webhook http://127.0.0.1/…: sent (")
    assert "secretpath" not in out


def test_a_webhook_that_does_not(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 where none was reached, with the reason, after one try."""
    with Receiver([status(500)]) as receiver:
        assert main([*configured(f'webhook = "{receiver.url}"'), "--test"]) == 2
        assert len(receiver.bodies) == 1
    assert "failed: it answers 500 Odd" in capsys.readouterr().out


def test_some_work(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, and each target with what came of it."""
    pytest.importorskip("apprise", reason="Apprise is not installed: pip install 'gpuwatch-node[notify]'")
    with Receiver() as receiver, refusing_port() as port:
        section = f'urls = ["json://127.0.0.1:{receiver.port}/a"]\nwebhook = "http://127.0.0.1:{port}"'
        assert main([*configured(section), "--test", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["exit"] == 1
    assert [(one["target"], one["problem"]) for one in document["targets"]] == [
        ("urls[0] json://…", None),
        ("webhook http://127.0.0.1/…", "Connection refused"),
    ]


def test_without_test_it_lists(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent; what would be told is said in a line."""
    section = 'webhook = "https://me:pw12@hooks.example.org/t0k3n"\nquiet_kinds = ["gpu_lost"]\nrepeat_every_s = 0'
    assert main(configured(section)) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "webhook https://hooks.example.org/…"
    assert "warning or worse, never gpu_lost; 30 s to a message, 20 messages an hour at most, told once" in out
    assert "t0k3n" not in out
    assert main([*configured(section), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"targets": ["webhook https://hooks.example.org/…"]}


@pytest.mark.parametrize(
    ("section", "flags", "sentence"),
    [
        ("", ["--test"], "No target is configured. Set notify.webhook or notify.urls"),
        ("", ["--connect", "node07"], "Messages are sent by the agent of each node."),
        ('webhook = "secret"', ["--test"], "notify.webhook can't be what is written there"),
        ("", ["--tset"], "Did you mean --test?"),
    ],
)
def test_nothing_to_try_is_3(
    configured: Configured, section: str, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 and 2 tell how a test went, so what kept it from being made is 3."""
    assert main([*configured(section), *flags]) == 3
    assert sentence in capsys.readouterr().err
