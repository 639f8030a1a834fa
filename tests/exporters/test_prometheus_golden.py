"""The whole output of simulated nodes, as it was looked at; and what the client library and promtool make of it."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpuwatch_agent.model.frame import Frame
from gpuwatch_exporters.prometheus.client_families import families_of
from gpuwatch_exporters.prometheus.family import View
from support.metrics_document import describe_metrics
from support.metrics_frames import NODES, OPENMETRICS, frame_of, openmetrics_families, samples_of, text_of

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@cache
def node(name: str) -> Frame:
    return frame_of(*NODES[name])


class AsRegistry:
    """What the client library's encoders ask for families."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def collect(self) -> "list[Metric]":
        return list(families_of(View(frame=self._frame)))


def settled(text: str) -> str:
    """Values to six digits, versions as marks: the last digits of a simulated sensor depend on the system's mathematics."""
    text = re.sub(r"(?m)^(gpuwatch_build_info).*$", r'\1{python="PYTHON",version="VERSION"} 1.0', text)
    return re.sub(r"(?m)^([^#].* )(\S+)$", lambda line: f"{line[1]}{float(line[2]):.6g}", text)


@pytest.mark.golden
@pytest.mark.parametrize("name", NODES)
def test_the_whole_output_is_the_golden_file(name: str) -> None:
    """Names, help, types, labels, order and values are those that were looked at."""
    text, golden = settled(text_of(node(name))), GOLDEN / f"{name}.txt"
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if that is meant, run `make golden` and look at it"


@pytest.mark.golden
def test_the_documentation_is_in_step() -> None:
    """docs/metrics.md is what the declarations and the exporter say."""
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        DOCUMENT.write_text(describe_metrics(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == describe_metrics(), "`make golden` writes it"


@pytest.mark.parametrize("name", NODES)
def test_our_lines_are_those_of_the_client_library(name: str) -> None:
    """Both forms are byte for byte what its encoders make of the same families."""
    frame = node(name)
    assert text_of(frame).encode() == generate_latest(AsRegistry(frame))
    assert text_of(frame, OPENMETRICS).encode() == generate_openmetrics(AsRegistry(frame))  # type: ignore[no-untyped-call]  # the library left this one out


@pytest.mark.parametrize("name", NODES)
def test_both_forms_are_read_back_alike(name: str) -> None:
    """The client library's parsers, the strict one too, find the same samples in both."""
    frame = node(name)
    plain, strict = samples_of(read_text(text_of(frame))), samples_of(openmetrics_families(text_of(frame, OPENMETRICS)))
    assert len(plain) > 100
    assert plain == strict


@pytest.mark.parametrize("name", NODES)
def test_promtool_has_nothing_to_say(name: str) -> None:
    """`promtool check metrics` is silent on every node."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "promtool is part of the CI: apt-get install prometheus"
        pytest.skip("promtool is not installed here: apt-get install prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text_of(node(name)), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_healthy_node_says_that_nothing_is_wrong() -> None:
    """No finding of a warning or worse, all fresh, all links up, no Xid."""
    samples = samples_of(read_text(text_of(node("healthy"))))
    by_name = {(key[0], value) for key, value in samples.items() if isinstance(key, tuple)}
    assert ("gpuwatch_up", 1.0) in by_name
    assert ("gpuwatch_gpu_nvlink_link_up", 0.0) not in by_name
    assert {value for name, value in by_name if name == "gpuwatch_gpu_xid_errors_total"} == {0.0}
    for severity in ("warning", "critical"):
        assert samples["gpuwatch_findings", ("severity", severity)] == 0
