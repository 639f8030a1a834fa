"""From findings to receivers, and who is told to tell them."""

import sys
from pathlib import Path

import pytest
from msgspec import structs

from gpuwatch_agent.config import Config, NotifySection, load_config
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.history import History
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.notify.courier import Courier
from gpuwatch_agent.notify.notifier import Notifier, make_notifier, make_targets
from gpuwatch_agent.notify.webhook import WebhookTarget
from support.reading import SettableClock
from support.receiver import HANG, Receiver, status
from support.running_agent import running_agent


class Node:
    """One GPU, judged second by second, with a notifier as the agent has it."""

    def __init__(self, settings: NotifySection, *couriers: Courier) -> None:
        self.clock = SettableClock(0.0)
        self.notifier = Notifier(settings, couriers, self.clock)
        self.notifier.start()
        history = History()
        self.engine = Engine(Config(), history, on_event=self.notifier.note)
        self.history = history

    def passes(self, seconds: int, *, lost: bool) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            gpu = Gpu(index=0, uuid="GPU-0", state="lost" if lost else "ok")
            frame = Frame(node="node07", taken_at=1e9 + self.clock.now, simulated=False, gpus=[gpu])
            self.history.append(frame, self.clock.now)
            self.notifier.tick(self.engine.judge(frame, self.clock.now))


def test_a_lost_gpu_and_its_return_reach_every_receiver() -> None:
    """Raised, then over; a receiver that hangs and one that fails keep neither the node nor the third from it."""
    with Receiver() as well, Receiver([HANG]) as silent, Receiver([status(404)]) as wrong:
        couriers = [Courier(WebhookTarget(one.url, timeout_s=60)) for one in (silent, wrong, well)]
        node = Node(NotifySection(group_s=5.0), *couriers)
        node.passes(20, lost=True)
        (raised,) = well.messages(1)
        node.passes(30, lost=False)
        _, over = well.messages(2)
        wrong.messages(2)
        silent.messages(1)
    assert raised["title"].startswith("node07: ✖ critical: GPU 0 is lost")
    assert [one["kind"] for one in raised["raised"]] == ["gpu_lost"]
    assert over["title"].startswith("node07: over: GPU 0 is lost")
    node.notifier.end()
    accounts = {account.name: account for account in node.notifier.accounts()}
    assert len(accounts) == 1, "all three are shown by scheme and host alone"
    assert [courier.account().sent for courier in couriers[1:]] == [0, 2]
    assert couriers[1].account().failed == 2


def test_what_is_pending_leaves_with_the_agent() -> None:
    """An agent that is stopped within the half minute says what it knew."""
    with Receiver() as receiver:
        node = Node(NotifySection(group_s=3000.0), Courier(WebhookTarget(receiver.url, timeout_s=10)))
        node.passes(20, lost=True)
        assert receiver.bodies == []
        node.notifier.end()
        (message,) = receiver.messages(1)
    assert message["raised"][0]["kind"] == "gpu_lost"


def test_nobody_to_tell_means_no_notifier() -> None:
    """Without a target nothing is made."""
    assert make_notifier(NotifySection(), SettableClock()) is None


def test_a_quiet_kind_that_does_not_exist_is_named() -> None:
    """A typing error in quiet_kinds would otherwise be a loud night."""
    with pytest.raises(UsageError, match=r"notify\.quiet_kinds names 'gpu_lots', which is no kind"):
        make_notifier(NotifySection(webhook="http://localhost", quiet_kinds=["gpu_lots"]), SettableClock())


def test_apprise_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, with what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match="needs Apprise, which is not installed"):
        make_targets(NotifySection(urls=["json://localhost"]))


@pytest.mark.parametrize("line", ['webhook = "htps://x/secrettoken"', 'urls = "slack://secrettoken"', "webhook = 7"])
def test_a_wrong_setting_is_told_without_the_secret(tmp_path: Path, line: str) -> None:
    """The complaint names the place, not what stands there."""
    file = tmp_path / "config.toml"
    file.write_text(f"[notify]\n{line}\n")
    with pytest.raises(UsageError) as raised:
        load_config(file, {}, {})
    assert f"{file}, line 2: notify." in str(raised.value)
    assert "can't be what is written there: allowed is" in str(raised.value)
    assert "secrettoken" not in str(raised.value)


def test_the_settings_come_from_the_environment_too() -> None:
    """As a Kubernetes secret gives them."""
    config = load_config(
        None, {"GPUWATCH_NOTIFY_URLS": "json://a, json://b", "GPUWATCH_NOTIFY_MIN_SEVERITY": "critical"}
    )
    assert config.notify == structs.replace(NotifySection(), urls=["json://a", "json://b"], min_severity="critical")


def test_a_real_agent_tells_a_webhook(tmp_path: Path) -> None:
    """From the simulated board that is lost to the POST; its account stands in the snapshot and in /metrics, without the path."""
    with Receiver() as receiver:
        env = {
            "PATH": "/usr/bin:/bin",
            "GPUWATCH_NOTIFY_WEBHOOK": f"{receiver.url}/secretpath",
            "GPUWATCH_NOTIFY_GROUP_S": "0",
            "GPUWATCH_SAMPLING_INTERVAL_S": "0.1",
            "GPUWATCH_FINDINGS_GPU_LOST_RAISE_AFTER_S": "0",
        }
        with running_agent(env, "--sim", "dgx-h100-8+lost@3", log=tmp_path / "agent.log") as agent:
            (message,) = receiver.messages(1)
            frame = agent.frame_where(
                lambda frame: frame.agent is not None and any(one.sent for one in frame.agent.notifications)
            )
            metrics = agent.get("/metrics").text
            snapshot = agent.get("/v1/snapshot").text
            findings = agent.get("/v1/findings").json()
    assert message["title"].partition(": ")[2].startswith("✖ critical: GPU 3 is lost")
    assert frame.agent is not None
    assert [one.name for one in frame.agent.notifications] == ["webhook http://127.0.0.1/…"]
    assert 'gpuwatch_notifications_sent_total{target="webhook http://127.0.0.1/…"} 1.0' in metrics
    assert "secretpath" not in snapshot + metrics
    assert [(event["event"], event["finding"]["kind"]) for event in findings["events"]].count(
        ("raised", "gpu_lost")
    ) == 1
