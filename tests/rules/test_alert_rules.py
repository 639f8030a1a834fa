"""The alert rules as files: sound, complete, and each tried out by promtool, firing and silent."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gpuwatch_agent.detectors.registry import DETECTORS
from support.alert_rules import ALERTS_PAGE, ROOT, RULES, Alert, alerts, alerts_page, recorded
from support.programs import needs

UNITS = sorted((Path(__file__).parent / "units").glob("*.test.yaml"))
ALERTMANAGER = ROOT / "grafana" / "prometheus" / "alertmanager.yml"
# Of Prometheus itself, and what people write into gpuwatch.budget.yaml.
FROM_ELSEWHERE = {"up", "gpuwatch:node_power_budget:watts"}


def expressions() -> dict[str, str]:
    """Of alerts and recording rules alike, by name."""
    return {**recorded(), **{alert.name: alert.expression for alert in alerts()}}


def metrics_in(expression: str) -> set[str]:
    """The names of series: what is left without strings, durations, label lists, functions and operators."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(on|by|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w|\s*\()", bare)
    return {word for word in words if word not in {"and", "or", "unless", "bool", "e6"}}


def documented() -> set[str]:
    return set(
        re.findall(r"^\| `(gpuwatch_\w+)`", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_promtool_finds_no_fault_with_the_rules() -> None:
    """Syntax, templates and duplicates, as Prometheus would read them."""
    needs("promtool")
    files = [str(file) for file in sorted(RULES.glob("*.yaml"))]
    checked = subprocess.run(["promtool", "check", "rules", *files], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stderr == ""


def test_every_series_that_a_rule_asks_for_is_documented() -> None:
    """A rule on a name that nobody exports never fires, and nobody notices."""
    known = documented() | set(recorded()) | FROM_ELSEWHERE
    strangers = {name: metrics_in(text) - known for name, text in expressions().items() if metrics_in(text) - known}
    assert strangers == {}
    # The reading of expressions is no blind eye: it finds what is there.
    assert metrics_in('max without (kind) (a{b="c"}) > 0.5 or rate(d:e[5m]) unless on (f) g') == {"a", "d:e", "g"}


def test_no_rule_asks_for_what_promql_cannot_do_or_totals_that_are_never_zero() -> None:
    """There is no bitwise operator, and healthy nodes have totals: counters are asked for their growth alone."""
    for name, text in expressions().items():
        for counter in re.findall(
            r"\w+_total\b", re.sub(r"\band on \([^)]*\)\s*\(?gpuwatch_gpu_xid_errors_total", "", text)
        ):
            assert re.search(rf"(rate|increase)\({counter}\b", text), f"{name} takes the total of {counter}"
        assert not re.search(r"\d+ != (bool )?0", text), name


def test_every_alert_says_how_grave_it_is_where_and_what_to_do() -> None:
    """Severity and topic as the Alertmanager example expects them; host and GPU named; a runbook that exists."""
    names = [alert.name for alert in alerts()]
    assert len(set(names)) == len(names)
    for alert in alerts():
        assert set(alert.labels) == {"severity", "topic"}, alert.name
        assert alert.labels["severity"] in {"info", "warning", "critical"}, alert.name
        for text in (alert.annotations["summary"], alert.annotations["description"]):
            assert alert.name == "GpuwatchAbsent" or "{{ $labels.instance }}" in text, alert.name
            assert not alert.name.startswith("Gpu") or alert.group == "gpuwatch-agent" or "{{ $labels.gpu }}" in text
            assert text.endswith("."), alert.name
        assert len(alert.annotations["description"]) > len(alert.annotations["summary"]), alert.name
        page, _, anchor = alert.annotations["runbook"].partition("#")
        assert (ROOT / page).is_file(), alert.name
        if anchor:
            assert f"### {alert.name}\n".lower() in (ROOT / page).read_text(encoding="utf-8").lower(), alert.name
            assert anchor == alert.name.lower()
        else:
            url = alert.annotations["runbook_url"]
            assert url.startswith("http://{{ $labels.instance }}/v1/runbooks/"), alert.name
            assert url.endswith((f"/{Path(page).stem}", "/{{ $labels.kind }}")), alert.name


def test_every_kind_of_finding_has_an_alert() -> None:
    """Whatever gpuwatch finds can reach somebody; Xids do so by their own counters."""
    asked = " ".join(re.findall(r'kind=~?"([^"]*)"', " ".join(alert.expression for alert in alerts())))
    kinds = {detector.kind for detector in DETECTORS}
    assert kinds - set(re.findall(r"\w+", asked)) == {"xid"}
    assert any("gpuwatch_gpu_xid_errors_total" in alert.expression for alert in alerts())


def test_the_examples_of_a_power_budget_are_rules_once_they_are_uncommented(tmp_path: Path) -> None:
    """What people are told to take out of its comment is accepted as it stands there."""
    needs("promtool")
    head, *examples = re.split(r"    # [^-\n]*:\n", (RULES / "gpuwatch.budget.yaml").read_text(encoding="utf-8"))
    assert len(examples) == 2
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(head.replace("rules: []", "rules:") + re.sub(r"^    # ?", "    ", example, flags=re.MULTILINE))
        checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
        assert "1 rules found" in checked.stdout, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def tried() -> Iterator[dict[Path, subprocess.Popen[str]]]:
    """Promtool at work on all files of units at once; none outlives the tests."""
    needs("promtool")
    running = {
        file: subprocess.Popen(
            ["promtool", "test", "rules", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for file in UNITS
    }
    try:
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name.removesuffix(".test.yaml"))
def test_promtool_agrees_with_the_units(tried: dict[Path, subprocess.Popen[str]], file: Path) -> None:
    """Each alert fires on its trouble and on nothing that looks like it."""
    said, _ = tried[file].communicate(timeout=50)
    assert tried[file].returncode == 0, said


def checks() -> Iterator[dict[str, Any]]:
    for file in UNITS:
        for unit in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            yield from unit["promql_expr_test"]


def test_every_alert_has_a_unit_that_fires_it_and_one_that_does_not() -> None:
    """A new alert comes with both, or this fails."""
    firing: set[str] = set()
    silent: set[str] = set()
    for check in checks():
        (name,) = re.findall(r'alertname="(\w+)"', check["expr"])
        if check.get("exp_samples"):
            assert 'alertstate="firing"' in check["expr"]
            firing.add(name)
        else:
            silent.add(name)
    assert {alert.name for alert in alerts()} - firing == set()
    assert {alert.name for alert in alerts()} - silent == set()
    assert firing | silent == {alert.name for alert in alerts()}


@pytest.mark.golden
def test_the_page_of_alerts_shows_the_rules_as_they_are() -> None:
    """Name, severity, patience, meaning and runbook in docs/alerts.md come from the file itself."""
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        ALERTS_PAGE.write_text(alerts_page(), encoding="utf-8")
    assert ALERTS_PAGE.read_text(encoding="utf-8") == alerts_page(), "`make golden` writes it"
    assert "{{" not in ALERTS_PAGE.read_text(encoding="utf-8").split("## ")[2]


def by_name(name: str) -> Alert:
    (found,) = [alert for alert in alerts() if alert.name == name]
    return found


def test_the_example_for_alertmanager_is_valid_and_names_only_alerts_that_exist() -> None:
    """It passes amtool, and no inhibition waits for an alert that was renamed."""
    needs("amtool")
    checked = subprocess.run(["amtool", "check-config", str(ALERTMANAGER)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = ALERTMANAGER.read_text(encoding="utf-8")
    patterns = [one for found in re.findall(r'alertname!?=~?"([^"]*)"', text) for one in found.split("|")]
    assert patterns
    for pattern in patterns:
        assert any(re.fullmatch(pattern, alert.name) for alert in alerts()), pattern


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("GpuThermalThrottleSevere", "GpuThermalThrottle"),
        ("GpuThermalThrottle", "GpuTemperatureHigh"),
        ("GpuThermalThrottle", "GpuGroupImbalance"),
        ("GpuLost", "GpuXidCritical"),
        ("GpuLost", "GpuStale"),
        ("GpuwatchAgentDown", "GpuLost"),
        ("GpuwatchDriverUnusable", "NodeGpuMissing"),
        ("GpuPowerThrottle", "GpuPowerLimitLowered"),
    ],
)
def test_one_trouble_is_one_message(source: str, target: str) -> None:
    """The example's inhibitions keep the consequence quiet while its cause is told, and never the other way round."""
    assert suppresses(by_name(source), by_name(target))
    assert not suppresses(by_name(target), by_name(source))


def suppresses(source: Alert, target: Alert) -> bool:
    """Whether the example's rules would suppress `target` on the same GPU, as Alertmanager reads them."""
    rules = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["inhibit_rules"]
    return any(
        all(_matches(matcher, source) for matcher in rule["source_matchers"])
        and all(_matches(matcher, target) for matcher in rule["target_matchers"])
        and ("topic" not in rule["equal"] or source.labels["topic"] == target.labels["topic"])
        for rule in rules
    )


def _matches(matcher: str, alert: Alert) -> bool:
    read = re.fullmatch(r'(\w+)(=~|!~|=)(".*")', matcher)
    assert read is not None, matcher
    value = {"alertname": alert.name, **alert.labels}[read[1]]
    wanted = msgspec.json.decode(read[3], type=str)
    if read[2] == "=":
        return value == wanted
    return (re.fullmatch(wanted, value) is not None) == (read[2] == "=~")
