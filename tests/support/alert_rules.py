"""The rule files as they are shipped, and the table of alerts that docs/alerts.md holds."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana" / "rules"
ALERTS_PAGE = ROOT / "docs" / "alerts.md"
_BEGIN = "<!-- Written from grafana/rules/gpuwatch.rules.yaml by `make golden`. -->\n"
_END = "<!-- Up to here. -->\n"
_TITLES = {
    "gpuwatch-throttling": "Clocks and power",
    "gpuwatch-temperature": "Temperature",
    "gpuwatch-groups": "Groups that work in step",
    "gpuwatch-links": "Links",
    "gpuwatch-faults": "Faults",
    "gpuwatch-use": "Use",
    "gpuwatch-agent": "gpuwatch itself",
}


class Alert(NamedTuple):
    """One alert of the shipped file."""

    name: str
    group: str
    expression: str
    patience: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def meaning(self) -> str:
        """The summary without the names that Prometheus puts in."""
        text = re.sub(r"\{\{ if .*?\}\}.*?\{\{ end \}\}", "a GPU of ", self.annotations["summary"])
        text = text.replace("GPU {{ $labels.gpu }} ", "a GPU ").replace("{{ $labels.instance }}", "a node")
        text = text.replace(" ({{ $labels.kind }})", "").replace("{{ $value }} GPU less", "fewer GPUs")
        text = text.replace(" is {{ $value | humanize }} W, below", " is below").replace(", {{ $labels.action }}", "")
        text = text.replace(" draw {{ $value | humanize }} W, more", " draw more")
        text = text.replace(" are {{ $value | humanizeDuration }} old", " are old")
        text = text.replace("Xid {{ $labels.xid }}", "an Xid").replace("{{ $labels.collector }}", "of a subject")
        return text[0].upper() + text[1:]


def documents() -> dict[str, Any]:
    """Each rule file by its name."""
    return {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(RULES.glob("*.yaml"))}


def alerts() -> list[Alert]:
    """Every alert, in the order of the file."""
    return [
        Alert(rule["alert"], group["name"], rule["expr"], rule.get("for", "0s"), rule["labels"], rule["annotations"])
        for document in documents().values()
        for group in document["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def recorded() -> dict[str, str]:
    """What recording rules compute, by the name under which they keep it."""
    return {
        rule["record"]: rule["expr"]
        for document in documents().values()
        for group in document["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


def alerts_page() -> str:
    """docs/alerts.md with its table as the rules are now; what people wrote around it stays."""
    text = ALERTS_PAGE.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + _tables() + _END + after


def _tables() -> str:
    text = "\n"
    for group, title in _TITLES.items():
        text += f"### {title}\n\n| alert | severity | for | when | what to do |\n| --- | --- | --- | --- | --- |\n"
        for alert in alerts():
            if alert.group == group:
                text += (
                    f"| `{alert.name}` | {alert.labels['severity']} | {_pause(alert.patience)} | {alert.meaning} "
                    f"| {_link(alert.annotations['runbook'])} |\n"
                )
        text += "\n"
    return text


def _pause(patience: str) -> str:
    return "at once" if patience == "0s" else patience


def _link(runbook: str) -> str:
    place, _, anchor = runbook.removeprefix("docs/").partition("#")
    return f"[below](#{anchor})" if anchor else f"[{Path(place).stem}]({place})"
