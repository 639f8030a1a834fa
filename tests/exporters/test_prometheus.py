"""`/metrics` as a scraper reads it."""

import re
from pathlib import Path

import pytest
from msgspec import structs

from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS
from gpuwatch_exporters.prometheus.render import render
from support.metrics_document import unit_of
from support.metrics_frames import OPENMETRICS, families, openmetrics_families, samples_of, text_of
from support.sample_frames import sample_cost, sample_frame
from support.simulated_node import read_simulated

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
STALE, LOST = 3, 6
WITHOUT_VALUES = {"gpuwatch_gpu_info", "gpuwatch_gpu_state", "gpuwatch_gpu_reading_age_seconds"}


@pytest.fixture(scope="module")
def frame() -> Frame:
    """Three GPUs of a simulated node: one well, one stale, one lost; host and own cost are made up."""
    read, _ = read_simulated(f"dgx-h100-8+hang@{STALE}~5+lost@{LOST}~5", after_s=8.0)
    gpus = [gpu for gpu in read.gpus if gpu.index in {0, STALE, LOST}]
    assert [gpu.state for gpu in gpus] == ["ok", "stale", "lost"]
    return structs.replace(read, gpus=gpus, host=sample_frame().host, agent=sample_cost())


def series_of(frame: Frame, gpu: int) -> set[str]:
    """The families that have a sample for this GPU."""
    return {
        sample.name
        for family in families(frame).values()
        for sample in family.samples
        if sample.labels.get("gpu") == str(gpu)
    }


def test_the_format_is_the_one_that_was_asked_for(frame: Frame) -> None:
    """OpenMetrics with its end mark for those who accept it, the text format for the rest."""
    for accept, begins, ends in (("", "text/plain", "\n"), (OPENMETRICS, "application/openmetrics-text", "# EOF\n")):
        body, content_type = render(frame, accept)
        assert content_type.startswith(begins)
        assert body.decode().endswith(ends)


def test_every_family_has_help_and_type_once_and_before_its_samples(frame: Frame) -> None:
    """A family is in one piece, which scrapers rely on."""
    lines = text_of(frame).splitlines()
    heads = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert heads == [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(heads) == len(set(heads))
    current = ""
    for line in lines:
        if line.startswith("# TYPE"):
            current = line.split()[2]
        elif not line.startswith("#"):
            assert re.split(r"[{ ]", line)[0] == current


def test_names_say_base_units(frame: Frame) -> None:
    """A declared unit is in the name, counters end in `_total`, and no unit but the base ones is in any."""
    named = {spec.prometheus: spec for spec in (*GPU_SPECS, *HOST_SPECS)}
    for name, family in families(frame).items():
        full = name + ("_total" if family.type == "counter" else "")
        assert re.fullmatch(r"gpuwatch_[a-z0-9_]+", full)
        assert family.documentation.endswith("."), full
        assert not re.search(r"_(percent|pct|mhz|mib|kib|mb|gb|milliseconds|ms|mw|mj|microseconds|minutes)(_|$)", full)
        if full in named and named[full].unit not in {"count", "number", "bool"}:
            assert unit_of(full), f"{full} is in {named[full].unit} and does not say so"


def test_ratios_are_ratios_and_clocks_hertz(frame: Frame) -> None:
    """What is 0 to 100 or megahertz in the frame is in base units here."""
    found = families(frame)
    gpu = frame.gpus[0]
    assert gpu.sm_clock_mhz is not None
    for name, family in found.items():
        if name.endswith("_ratio"):
            assert all(0 <= sample.value <= 1 for sample in family.samples), name
    assert found["gpuwatch_gpu_sm_clock_hertz"].samples[0].value == gpu.sm_clock_mhz * 1e6


def test_every_family_is_documented(frame: Frame) -> None:
    """Nothing is exported that is neither declared nor in docs/metrics.md."""
    document = DOCUMENT.read_text(encoding="utf-8")
    for family in [*families(frame).values(), *families(sample_frame()).values()]:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"| `{name}` | {family.type} |" in document


@pytest.mark.parametrize("gpu", [STALE, LOST])
def test_a_gpu_without_fresh_values_has_no_value_series(frame: Frame, gpu: int) -> None:
    """Stale or lost: what it is, its state and the age of its values, and none of those values."""
    assert series_of(frame, gpu) == WITHOUT_VALUES
    assert len(series_of(frame, 0)) > 40


def test_exactly_one_state_is_true_for_each_gpu(frame: Frame) -> None:
    """Alerts can be written on any of them."""
    true = {
        (sample.labels["gpu"], sample.labels["state"])
        for sample in families(frame)["gpuwatch_gpu_state"].samples
        if sample.value
    }
    assert true == {("0", "ok"), (str(STALE), "stale"), (str(LOST), "lost")}


def test_what_is_unknown_has_no_sample_and_zero_has_one(frame: Frame) -> None:
    """Absent is absent, and a measured 0 or false is a 0."""
    bare = structs.replace(frame, gpus=[Gpu(index=0, uuid="GPU-0", fan_pct=0.0, display_active=False)], host=None)
    assert series_of(bare, 0) == {
        "gpuwatch_gpu_info",
        "gpuwatch_gpu_state",
        "gpuwatch_gpu_fan_speed_ratio",
        "gpuwatch_gpu_display_active",
    }
    assert families(bare)["gpuwatch_gpu_fan_speed_ratio"].samples[0].value == 0
    assert not [name for name in families(bare) if name.startswith("gpuwatch_host")]


def test_a_node_without_driver_is_still_told(frame: Frame) -> None:
    """No GPU, no cost: what is known of the node is there and readable."""
    blind = structs.replace(
        frame,
        gpus=[],
        host=None,
        agent=None,
        trouble=Trouble(kind="driver_not_loaded", message="No.", action="Load it."),
    )
    found = families(blind)
    assert found["gpuwatch_driver_usable"].samples[0].value == 0
    assert found["gpuwatch_frame_timestamp_seconds"].samples[0].value == frame.taken_at
    assert samples_of(openmetrics_families(text_of(blind, OPENMETRICS))) == samples_of(found.values())


def test_names_that_play_tricks_are_escaped(frame: Frame) -> None:
    """Quotes, backslashes and line ends in a board's name come back as they were."""
    name = 'H100 "80\\GB"\nHBM3 ✓'
    odd = structs.replace(frame, gpus=[structs.replace(frame.gpus[0], name=name)])
    assert families(odd)["gpuwatch_gpu_info"].samples[0].labels["name"] == name
