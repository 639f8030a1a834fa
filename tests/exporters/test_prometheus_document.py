"""docs/prometheus.md is true: its configurations load, its drop list drops what it says, its figures are those of a node."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpuwatch_exporters.prometheus.subjects import SUBJECTS
from support.metrics_frames import NODES, frame_of, text_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "prometheus.md").read_text(encoding="utf-8")
CONFIGURATIONS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@cache
def node() -> list[Metric]:
    return list(read_text(text_of(frame_of(*NODES["healthy"]))))


def drop_rules() -> list[tuple[list[str], "re.Pattern[str]"]]:
    (job,) = yaml.safe_load(CONFIGURATIONS[1])["scrape_configs"]
    rules: list[dict[str, Any]] = job["metric_relabel_configs"]
    assert {rule["action"] for rule in rules} == {"drop"}
    return [(rule["source_labels"], re.compile(rule["regex"])) for rule in rules]


def dropped() -> list[str]:
    """The names of the node's samples that the list drops, one for each sample."""
    rules = drop_rules()
    return [
        sample.name
        for family in node()
        for sample in family.samples
        if any(
            pattern.fullmatch(";".join({**sample.labels, "__name__": sample.name}.get(label, "") for label in labels))
            for labels, pattern in rules
        )
    ]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_configurations_are_taken_by_prometheus(configuration: str, tmp_path: Path) -> None:
    """`promtool check config` has no objection."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "promtool is part of the CI: apt-get install prometheus"
        pytest.skip("promtool is not installed here: apt-get install prometheus")
    file = tmp_path / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    checked = subprocess.run(
        [promtool, "check", "config", "--syntax-only", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_drop_list_names_what_there_is() -> None:
    """Each part of each pattern drops something of a healthy node, and the number of series is the one that is said."""
    names = set(dropped())
    for part in (
        "bar1",
        "reserved",
        "lowest",
        "highest_watts",
        "encoder",
        "memory_clock",
        "persistence",
        "throttle_reason",
    ):
        assert any(part in name for name in names), part
    (said,) = re.findall(r"\| the drop list below \| (\d+) series, (\d+) %", TEXT)
    assert int(said[0]) == len(dropped())
    assert int(said[1]) == round(100 * len(dropped()) / sum(len(family.samples) for family in node()))


def test_what_the_drop_list_drops_is_asked_for_nowhere() -> None:
    """No rule and no dashboard of ours goes blind by it, but for the reasons and errors that it leaves in."""
    in_part = ("gpuwatch_gpu_throttle_", "gpuwatch_gpu_pcie_errors_total")
    whole = {name for name in dropped() if not name.startswith(in_part)}
    files = [file for file in (ROOT / "grafana").rglob("*") if file.suffix in {".yaml", ".yml", ".json"}]
    asked = {name for file in files for name in re.findall(r"gpuwatch_\w+", file.read_text(encoding="utf-8"))}
    assert whole & asked == set()


def test_filters_that_are_recommended_exist() -> None:
    """Subjects are named as the agent knows them, and save what is said."""
    (said,) = re.findall(r"`exclude\[\]: \[nvlink_links\]` \| (\d+) series, (\d+) %", TEXT)
    (subject,) = [subject for subject in SUBJECTS if subject.name == "nvlink_links"]
    links = {family.name for family in subject.families}
    count = sum(sample.name in links for family in node() for sample in family.samples)
    assert int(said[0]) == count
    assert int(said[1]) == round(100 * count / sum(len(family.samples) for family in node()))
