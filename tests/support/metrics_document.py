"""docs/metrics.md, written from the declared metrics and from what the exporter adds of its own."""

from collections.abc import Iterable

from msgspec import structs

from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS, MetricSpec
from gpuwatch_exporters.prometheus import families_of
from support.sample_frames import sample_cost, sample_frame

_HEAD = """\
# Metrics

Everything that `/metrics` may hold. A GPU's families carry `gpu` (its index) and `uuid`; the rest of its identity is in `gpuwatch_gpu_info`, to be joined
`on (gpu, uuid)` or `on (uuid)`. What has no value has no series: nothing is 0 because it is unknown. A GPU that is `stale` or `lost` has its
`gpuwatch_gpu_info`, `gpuwatch_gpu_state` and `gpuwatch_gpu_reading_age_seconds`, and none of its values, because old ones would pass for fresh.

The column JSON names the field of `/v1/snapshot` and the metric of `/v1/history`: percentages are 0 to 100 and clocks megahertz there. Counters that the driver
keeps start again when it is loaded anew; `rate()` and `increase()` allow for that. A family with the same name in several rows is one family.

<!-- Written from gpuwatch_agent/model/metrics.py and gpuwatch_exporters/prometheus.py by `make golden`. -->
"""
_UNITS = {
    "_ratio": "ratio, 1 being all of it",
    "_bytes": "bytes",
    "_bytes_per_second": "bytes per second",
    "_watts": "watts",
    "_joules": "joules",
    "_celsius": "degrees Celsius",
    "_hertz": "hertz",
    "_seconds": "seconds",
    "_lanes": "lanes",
}


def describe_metrics() -> str:
    """The whole document."""
    declared = {spec.prometheus for spec in (*GPU_SPECS, *HOST_SPECS)}
    full = structs.replace(sample_frame(), agent=sample_cost())
    own = [(family.name + ("_total" if family.type == "counter" else ""), family) for family in families_of(full)]
    rows = [
        (name, family.type, unit_of(name), _labels(family.samples[0].labels), family.documentation)
        for name, family in own
        if name not in declared
    ]
    return (
        f"{_HEAD}\n## GPUs\n\n{_of_specs(GPU_SPECS)}\n## The host\n\n{_of_specs(HOST_SPECS)}\n## What a GPU is, and gpuwatch's own account\n\n"
        + _table(("family", "type", "unit", "labels", "meaning"), rows)
    )


def unit_of(name: str) -> str:
    """The unit that a family's name says, in words; empty for numbers without one."""
    bare = name.removesuffix("_total")
    return next((words for suffix, words in _UNITS.items() if bare.endswith(suffix)), "")


def _of_specs(specs: Iterable[MetricSpec]) -> str:
    return _table(
        ("family", "type", "unit", "labels", "meaning", "read with", "JSON"),
        [
            (
                spec.prometheus,
                spec.kind,
                unit_of(spec.prometheus),
                ", ".join(f'`{label}="{value}"`' for label, value in spec.labels),
                spec.help,
                spec.source,
                f"`{spec.name}`",
            )
            for spec in specs
        ],
    )


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
