"""The real Prometheus and Alertmanager that other tests ask: they start, answer, pass alerts on, and leave nothing behind."""

from pathlib import Path

import pytest

from support.programs import needs
from support.prometheus_server import alerting, alertmanager, prometheus, scraping
from support.receiver import Receiver

_ALWAYS = {
    "groups": [
        {"name": "always", "interval": "200ms", "rules": [{"alert": "Always", "expr": "vector(1)"}]},
    ]
}


def test_prometheus_scrapes_itself_and_passes_an_alert_to_a_webhook(tmp_path: Path) -> None:
    """A rule that always holds travels through both servers to a receiver, and both end with the `with`."""
    with Receiver() as receiver:
        webhook = {"name": "hook", "webhook_configs": [{"url": receiver.url}]}
        route = {"receiver": "hook", "group_wait": "100ms", "group_interval": "1s"}
        with alertmanager(tmp_path / "am", {"route": route, "receivers": [webhook]}) as manager:
            config = {**scraping(manager.url), **alerting(manager)}
            with prometheus(tmp_path / "prom", config, rules={"always.yaml": _ALWAYS}) as server:
                (sample,) = server.wait_until('up{job="gpuwatch"} == 1')
                (told,) = receiver.messages(1)
    assert sample.labels["instance"] == manager.url.removeprefix("http://")
    assert [alert["labels"]["alertname"] for alert in told["alerts"]] == ["Always"]
    assert server.process.returncode is not None
    assert manager.process.returncode is not None


def test_a_query_that_never_fits_fails_at_its_deadline_with_what_there_was(tmp_path: Path) -> None:
    """Waiting ends, and says for what it waited."""
    with (
        prometheus(tmp_path, {}) as server,
        pytest.raises(AssertionError, match=r"never as wanted: vector\(2\).*value=2"),
    ):
        server.wait_until("vector(2)", lambda samples: samples[0].value == 3, within_s=0.1)


def test_a_configuration_that_is_refused_is_told_in_prometheus_words(tmp_path: Path) -> None:
    """A program that ends before it listens is no hang: its own message is the failure."""
    with pytest.raises(AssertionError, match="nonsense"), prometheus(tmp_path, {"nonsense": 1}):
        pass


def test_a_missing_program_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is made to install servers, and CI can't pass without them."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install prometheus"):
        needs("promtool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="prometheus-alertmanager"):
        needs("amtool")
