"""What `gpuwatch check` has to say: one line for machines and hurried people, then every finding."""

import time
from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from gpuwatch.checking import NotJudged, SeenFinding
from gpuwatch.render.ansi import Line, Span, to_text
from gpuwatch.render.header import boards_in_words
from gpuwatch.render.text import SIGNS, clean, cut, to_ascii, wrap
from gpuwatch.render.units import index_list, span_of_time
from gpuwatch_agent.detectors.words import gib
from gpuwatch_agent.model.frame import SCHEMA, Trouble

WORDS = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
_STYLES = {0: "ok", 1: "warning", 2: "critical", 3: "stale"}
LONGEST_HEADLINE = 160


class CheckReport(Struct, frozen=True, kw_only=True):
    """The document of `check --json`."""

    schema: int = SCHEMA
    node: str | None
    simulated: bool
    taken_at: float
    watched_s: float
    exit: int
    gpus: list[str | None]
    """The GPUs' names, by index."""
    findings: list[SeenFinding]
    not_judged: list[NotJudged]
    trouble: Trouble | None


def render_check(report: CheckReport, *, width: int, colour: bool, unicode: bool, for_machines: bool) -> str:
    """The first line whole, whatever the width; the rest wrapped."""
    headline = headline_of(report)
    # In ASCII a middle dot would become the bar that begins a plugin's numbers.
    headline = headline if unicode else to_ascii(headline.replace("·", ","))
    numbers = f" | {_numbers(report)}" if for_machines and report.trouble is None else ""
    word, rest = headline.split(" ", 1)
    first = to_text([[Span(word, _STYLES[report.exit]), Span(f" {rest}")]], width=1000, colour=colour, unicode=True)
    lines: list[Line] = []
    for finding in report.findings:
        lines += [[], *_finding_lines(finding, report.taken_at, width)]
    lines += _footnotes(report, width)
    return first.rstrip("\n") + numbers + "\n" + to_text(lines, width=width, colour=colour, unicode=unicode)


def headline_of(report: CheckReport) -> str:
    """The verdict in one line, as monitoring systems show it."""
    head = f"{WORDS[report.exit]} - {'SIMULATED ' if report.simulated else ''}"
    if report.trouble is not None:
        return cut(head + _plain(report.trouble.message), LONGEST_HEADLINE)
    count = len(report.gpus)
    gpus = f"{count} GPU{'' if count == 1 else 's'}"
    watched = span_of_time(round(report.watched_s))
    if not report.findings:
        boards = _plain(boards_in_words(report.gpus))
        return cut(
            f"{head}{gpus} ({boards}) on {_plain(report.node or '?')}, nothing found in {watched}", LONGEST_HEADLINE
        )
    worst, *others = report.findings
    tail = f" ({_counts(others)}; {gpus})" if others else f" ({gpus})"
    over = " (over now)" if worst.over else ""
    return head + cut(_plain(worst.summary) + over, LONGEST_HEADLINE - len(head) - len(tail)) + tail


def _counts(findings: list[SeenFinding]) -> str:
    """And 1 critical, 2 warnings."""
    found = Counter(finding.severity for finding in findings)
    words = [
        f"{found[severity]} {severity}{'s' if severity == 'warning' and found[severity] > 1 else ''}"
        for severity in ("critical", "warning", "info")
        if found[severity]
    ]
    return f"and {', '.join(words)}"


def _numbers(report: CheckReport) -> str:
    """Performance data as Nagios reads it."""
    found = Counter(finding.severity for finding in report.findings)
    counts = " ".join(f"{severity}={found[severity]}" for severity in ("critical", "warning", "info"))
    return f"gpus={len(report.gpus)} {counts}"


def _plain(text: str) -> str:
    """One line without the bar, behind which a plugin's numbers begin."""
    return clean(text).replace("|", "/")


def _finding_lines(finding: SeenFinding, now: float, width: int) -> list[Line]:
    gpus = f"  GPU {index_list(finding.gpus)}" if finding.gpus else ""
    since = f"  since {time.strftime('%H:%M:%S', time.localtime(finding.since))} ({span_of_time(now - finding.since)})"
    title = [Span(SIGNS[finding.severity], finding.severity), Span(f" {clean(finding.kind)}", "bold"), Span(gpus)]
    lines: list[Line] = [[*title, Span(since + (", over now" if finding.over else ""), "dim")]]
    lines += _paragraph("", finding.summary, width, f"{finding.severity} text")
    if finding.cause:
        lines += _paragraph("why   ", finding.cause, width)
    numbers = _evidence(finding.evidence)
    if numbers:
        lines += _paragraph("seen  ", numbers, width, "dim")
    lines += _paragraph("do    ", finding.action, width)
    lines += _paragraph("more  ", f"gpuwatch runbook {finding.kind}", width, "dim")
    return lines


def _paragraph(label: str, text: str, width: int, style: str = "") -> list[Line]:
    room = max(width - 2 - len(label), 20)
    return [
        [Span("  "), Span(label if position == 0 else " " * len(label), "dim"), Span(line, style)]
        for position, line in enumerate(wrap(clean(text), room))
    ]


def _evidence(evidence: Mapping[str, float | int | str | None]) -> str:
    return ", ".join(f"{_name(name)} {_value(name, value)}" for name, value in evidence.items() if value is not None)


def _name(name: str) -> str:
    """Without the unit that the value carries here."""
    return name.removesuffix("_bytes")


def _value(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes"):
        return gib(value)
    if name.endswith("pid"):
        return str(value)  # a name that is written in digits
    return f"{value:,.4g}" if value % 1 and abs(value) < 10000 else f"{value:,.0f}"


def _footnotes(report: CheckReport, width: int) -> list[Line]:
    """What this watch can't tell."""
    notes = [f"{one.kind}: {one.reason}" if one.kind else one.reason for one in report.not_judged]
    if not notes:
        return []
    return [[], *_paragraph("", f"not judged: {'; '.join(notes)}", width, "dim")]
