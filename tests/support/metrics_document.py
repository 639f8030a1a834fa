"""docs/metrics.md, written from the families as they are declared."""

from collections.abc import Iterable

from gpuwatch_exporters.prometheus.family import Family, Page, View
from gpuwatch_exporters.prometheus.node import freshness
from gpuwatch_exporters.prometheus.subjects import FRESHNESS, SUBJECTS, page_of
from support.metrics_frames import NODES, frame_of

_HEAD = """\
# Metrics

Everything that `/metrics` may hold, by subject. A GPU's families carry `gpu` (its index) and `uuid`; the rest of its identity is in `gpuwatch_gpu_info`, to be
joined `on (gpu, uuid)` or `on (uuid)`. What has no value has no series: nothing is 0 because it is unknown. A GPU that is `stale` or `lost` has its
`gpuwatch_gpu_info`, `gpuwatch_gpu_state` and `gpuwatch_gpu_reading_age_seconds`, and none of its values, because old ones would pass for fresh; its Xids, which the
agent counts, stay. A frame that no newer one follows is told in the same way: `gpuwatch_up` is 0, its age is said, and no value is repeated.

The column JSON names the field of `/v1/snapshot` and, for single numbers, the metric of `/v1/history`: percentages are 0 to 100 and clocks megahertz there. Counters
that the driver keeps start again when it is loaded anew; `rate()` and `increase()` allow for that. [prometheus.md](prometheus.md) says how to scrape, what it
costs and what can be left out.

<!-- Written from the families declared in gpuwatch_agent/model/metrics.py and gpuwatch_exporters/prometheus by `make golden`. -->
"""
_FLEET, _EVERY_S, _BYTES_PER_SAMPLE = 1000, 15, 1.5
_COST_HEAD = f"""
## What it costs

The series of one healthy node with 8 H100, 24 processes and every collector on, and what they cost a Prometheus that scrapes {_FLEET:,} such nodes every
{_EVERY_S} s, at {_BYTES_PER_SAMPLE} bytes a sample (what Prometheus needs after compression; counters that stand still need less). [prometheus.md](prometheus.md#less-of-it) says what to leave out first.

"""
_UNITS = {
    "_timestamp_seconds": "seconds since 1970",
    "_ratio": "ratio, 1 being all of it",
    "_bytes": "bytes",
    "_bytes_per_second": "bytes per second",
    "_tokens_per_second": "tokens per second",
    "_watts": "watts",
    "_joules": "joules",
    "_celsius": "degrees Celsius",
    "_hertz": "hertz",
    "_seconds": "seconds",
    "_lanes": "lanes",
    "_flops": "operations per second",
}


def describe_metrics() -> str:
    """The whole document."""
    parts = [_HEAD, "\n## freshness\n\nIn every scrape, whatever it is cut down to.\n\n", _table(FRESHNESS)]
    for subject in SUBJECTS:
        parts += [f"\n## {subject.name}\n\n{subject.help[0].upper()}{subject.help[1:]}.\n\n", _table(subject.families)]
    return "".join([*parts, _COST_HEAD, costs()])


def costs() -> str:
    """How many series each subject has, and what they cost a fleet."""
    view = View(frame=frame_of(*NODES["healthy"]))
    counted = [("freshness", _series(freshness(view.frame, 0.0)))]
    counted += [(subject.name, _series(page_of(subject, view))) for subject in SUBJECTS]
    counted.append(("**all**", sum(count for _, count in counted)))
    gpus = len(view.frame.gpus)
    lines = ["| subject | series | a GPU | samples/s | GB a day |", "| --- | --: | --: | --: | --: |"]
    for name, count in counted:
        samples_per_s = count * _FLEET / _EVERY_S
        gigabytes = samples_per_s * 86_400 * _BYTES_PER_SAMPLE / 1e9
        shown = "" if count % gpus else f"{count // gpus}"
        lines.append(f"| {name} | {count:,} | {shown} | {samples_per_s:,.0f} | {gigabytes:.2f} |")
    return "\n".join(lines) + "\n"


def _series(page: Page) -> int:
    return sum(len(samples) for samples in page.samples.values())


def unit_of(name: str) -> str:
    """The unit that a family's name says, in words; empty for numbers without one."""
    bare = name.removesuffix("_total")
    return next((words for suffix, words in _UNITS.items() if bare.endswith(suffix)), "")


def _table(families: Iterable[Family]) -> str:
    rows = [
        (
            f"`{family.name}`",
            family.kind,
            unit_of(family.name),
            ", ".join(f"`{label}`" for label in family.labels),
            family.help,
            family.source,
            f"`{family.path}`" if family.path else "",
        )
        for family in families
    ]
    head = ("family", "type", "unit", "labels", "meaning", "read with", "JSON")
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ("---",) * len(head), *rows])
