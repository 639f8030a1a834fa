"""Every number of the model has a spec, and every spec a number."""

import re
import types
import typing

import msgspec
import pytest

from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.metrics import (
    GPU_SPECS,
    HOST_SPECS,
    SPECS,
    THROTTLE_REASONS,
    MetricSpec,
    Value,
    reader,
    value_of,
)
from support.sample_frames import sample_frame, sample_gpu

NOT_METRICS = {
    "index": "names the GPU",
    "numa_node": "names a place",
    "fabric.clique": "names a partition of the fabric",
    "fans_pct": "a list; `fan_pct` sums it up",
    "pcie.errors": "counters whose names differ from board to board",
    "nvlink.links": "rows of their own, with a label each",
    "mig.instances": "rows of their own, with a label each",
    "xids": "events, with a label each",
    "processes": "rows of their own",
    "numa_nodes": "rows of their own",
}
NUMBERS = {int, float, bool}


def numeric_paths(struct: type[msgspec.Struct], prefix: str = "") -> set[str]:
    """Paths of all fields that hold a number, into nested structs, tables of numbers and lists included as they are."""
    found: set[str] = set()
    for field in msgspec.structs.fields(struct):
        path = prefix + field.encode_name
        for part in _alternatives(field.type):
            if part in NUMBERS:
                found.add(path)
            elif isinstance(part, type) and issubclass(part, msgspec.Struct):
                found |= numeric_paths(part, path + ".")
            elif typing.get_origin(part) in {list, dict} and _holds_numbers(part):
                found.add(path)
    return found


def _alternatives(annotation: object) -> tuple[object, ...]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _holds_numbers(annotation: object) -> bool:
    inner = typing.get_args(annotation)[-1]
    return any(
        part in NUMBERS or (isinstance(part, type) and issubclass(part, msgspec.Struct))
        for part in _alternatives(inner)
    )


@pytest.mark.parametrize(("struct", "specs"), [(Gpu, GPU_SPECS), (Host, HOST_SPECS)])
def test_specs_and_structs_say_the_same(struct: type[msgspec.Struct], specs: tuple[MetricSpec, ...]) -> None:
    """A number without a spec, or a spec without a number, is a mistake unless it is a listed exception."""
    declared = {spec.path for spec in specs if not spec.path.startswith("throttle_seconds.")}
    expected = numeric_paths(struct) - NOT_METRICS.keys() - {"throttle_seconds"}
    assert declared == expected


def test_exceptions_are_fields_that_exist() -> None:
    """The list of exceptions holds no name of long ago."""
    assert NOT_METRICS.keys() <= numeric_paths(Gpu) | numeric_paths(Host)


def test_throttle_time_has_one_metric_a_reason() -> None:
    """One family with the reason as label, so that an alert can name it."""
    throttles = [spec for spec in GPU_SPECS if spec.path.startswith("throttle_seconds.")]
    assert [spec.labels for spec in throttles] == [(("reason", reason),) for reason in THROTTLE_REASONS]
    assert {spec.prometheus for spec in throttles} == {"gpuwatch_gpu_throttle_seconds_total"}


def test_names_are_unique() -> None:
    """No two metrics share a name, and no two series a Prometheus name with labels."""
    everything = (*GPU_SPECS, *HOST_SPECS)
    assert len(SPECS) == len(everything)
    assert len({(spec.prometheus, spec.labels) for spec in everything}) == len(everything)


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_prometheus_names_follow_the_conventions(spec: MetricSpec) -> None:
    """Prefix, base unit, `_total` on counters and nowhere else, one sentence of help."""
    assert re.fullmatch(r"gpuwatch_(gpu|host)_[a-z0-9_]+", spec.prometheus)
    assert spec.prometheus.endswith("_total") == (spec.kind == "counter")
    assert not re.search(r"_(pct|mhz|ms|mib|w|j|c|count|sum|bucket)$", spec.prometheus)
    assert re.fullmatch(r"[A-Z0-9].*[^.]\.", spec.help)
    assert spec.source


@pytest.mark.parametrize(
    ("path", "name", "scale"),
    [
        ("utilization_pct", "gpuwatch_gpu_utilization_ratio", 0.01),
        ("sm_clock_mhz", "gpuwatch_gpu_sm_clock_hertz", 1e6),
        ("temperature_c", "gpuwatch_gpu_temperature_celsius", 1),
        ("power_w", "gpuwatch_gpu_power_watts", 1),
        ("energy_j", "gpuwatch_gpu_energy_joules_total", 1),
        ("memory_used_bytes", "gpuwatch_gpu_memory_used_bytes", 1),
    ],
)
def test_base_units(path: str, name: str, scale: float) -> None:
    """Percent becomes a ratio, megahertz hertz; the rest is in base units already."""
    assert (SPECS[path].prometheus, SPECS[path].scale) == (name, scale)


def test_bytes_and_counters_are_stored_wide() -> None:
    """A 32-bit float would round them."""
    wide = {spec.name for spec in SPECS.values() if spec.typecode == "d"}
    assert {"memory_used_bytes", "energy_j", "pcie.replays", "throttle_seconds.idle", "nvlink.tx_bytes_per_s"} <= wide
    assert "power_w" not in wide


def test_the_quick_reader_reads_what_the_slow_one_does() -> None:
    """Both ways give the same values in the same order."""
    gpu, host = sample_gpu(3), sample_frame().host
    assert host is not None
    assert reader(GPU_SPECS)(gpu) == [value_of(gpu, spec) for spec in GPU_SPECS]
    assert reader(HOST_SPECS)(host) == [value_of(host, spec) for spec in HOST_SPECS]


def test_a_bare_gpu_has_no_values() -> None:
    """What was not read is `None` in both ways, never 0."""
    bare = Gpu(index=0, uuid="GPU-0")
    nothing: list[Value] = [None] * len(GPU_SPECS)
    assert reader(GPU_SPECS)(bare) == nothing
    assert [value_of(bare, spec) for spec in GPU_SPECS] == nothing
