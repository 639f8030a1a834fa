"""The same samples as prometheus-client's own families: its encoders judge what ours write."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gpuwatch_exporters.prometheus.encoding import clean
from gpuwatch_exporters.prometheus.family import Page, View
from gpuwatch_exporters.prometheus.node import freshness
from gpuwatch_exporters.prometheus.subjects import SUBJECTS, page_of

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def families_of(view: View, age_s: float = 0.0) -> "Iterator[Metric]":
    """Every family that the frame has values for."""
    pages = [page_of(subject, view) for subject in SUBJECTS]
    return client_families([*pages, freshness(view.frame, age_s)])


def client_families(pages: Iterable[Page]) -> "Iterator[Metric]":
    """The pages' families, those without samples left out."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for page in pages:
        for family, samples in page.samples.items():
            if not samples:
                continue
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            made = kind(family.bare_name, family.help, labels=family.labels)
            for labels, value in samples.items():
                made.add_metric([clean(label) for label in labels], float(value))
            yield made
