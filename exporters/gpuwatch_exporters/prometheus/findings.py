"""What is wrong now, a series for each GPU that a finding names."""

from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View

_LABELS = ("kind", "gpu", "uuid", "severity")
_SEVERITIES = ("info", "warning", "critical")
_SOURCE = "the agent's detectors"

FINDING = Family(
    name="gpuwatch_finding",
    help="1 for each finding there is, once for each GPU it names; without GPU where it names none.",
    labels=_LABELS,
    source=_SOURCE,
    path="findings[]",
)
SINCE = Family(
    name="gpuwatch_finding_since_timestamp_seconds",
    help="Since when it has been so.",
    labels=_LABELS,
    source=_SOURCE,
    path="findings[].since",
)
COUNT = Family(
    name="gpuwatch_findings",
    help="How many findings there are, by severity.",
    labels=("severity",),
    source=_SOURCE,
    path="findings",
)


def _write(view: View, page: Page) -> None:
    found, since, counts = page.of(FINDING), page.of(SINCE), page.of(COUNT)
    uuids = {gpu.index: gpu.uuid for gpu in reversed(view.frame.gpus)}
    for severity in _SEVERITIES:
        counts[severity,] = 0
    for finding in view.frame.findings:
        counts[finding.severity,] += 1
        named = [(str(index), uuids.get(index, "")) for index in finding.gpus] or [("", "")]
        for index, uuid in named:
            labels = (finding.kind, index, uuid, finding.severity)
            found[labels] = 1
            since[labels] = min(finding.since, since.get(labels, finding.since))


FINDINGS = Subject(
    name="findings", help="what is wrong, and since when", families=(FINDING, SINCE, COUNT), writers=(_write,)
)
