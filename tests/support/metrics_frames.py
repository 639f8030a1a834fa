"""Simulated nodes as a scrape finds them, and what a scraper reads out of the answer."""

from collections.abc import Iterable, Mapping

from msgspec import structs
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpuwatch_agent.model.frame import Frame
from gpuwatch_exporters.prometheus.options import Options
from gpuwatch_exporters.prometheus.render import render
from support.sample_frames import sample_cost, sample_frame
from support.simulated_story import SimulatedStory

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

NODES: Mapping[str, tuple[str, int]] = {
    "healthy": ("dgx-h100-8", 40),
    "faulty": ("dgx-h100-8+hot@5+nvlink-down@2+xid@3=48~20", 90),
    "mig": ("h100-mig", 20),
    "lost": ("dgx-a100-8+lost@6~5", 20),
}
"""Machines with their faults, and how many seconds they have run when they are looked at."""


def frame_of(machine: str, seconds: int) -> Frame:
    """The judged frame of a node after so long; host and own cost are made up, because the real ones differ each time."""
    with SimulatedStory(machine) as story:
        story.passes(seconds)
        assert story.frame is not None
        return structs.replace(story.frame, node="node07", host=sample_frame().host, agent=sample_cost())


def text_of(frame: Frame, accept: str = "", options: Options | None = None) -> str:
    return render(frame, accept, options=options)[0].decode()


def families(frame: Frame, options: Options | None = None) -> dict[str, Metric]:
    """By name, as the parser of the client library understands the text."""
    return {family.name: family for family in read_text(text_of(frame, options=options))}


def openmetrics_families(text: str) -> list[Metric]:
    """What the strict parser makes of the other format."""
    return list(read_openmetrics(text))  # type: ignore[no-untyped-call]  # the library left this one out


def samples_of(found: Iterable[Metric]) -> dict[object, float]:
    """Values by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in found for sample in family.samples
    }


def series(
    frame: Frame, name: str, options: Options | None = None, **labels: str
) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample of that name whose labels include these."""
    return [
        (sample.labels, sample.value)
        for family in families(frame, options).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def value(frame: Frame, name: str, **labels: str) -> float:
    """The value of the only such sample."""
    ((_, found),) = series(frame, name, None, **labels)
    return found
