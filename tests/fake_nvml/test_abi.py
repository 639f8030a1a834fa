"""The C structs against the binding's: a shifted field would make every other test a lie."""

import ctypes
import subprocess
from pathlib import Path

import pynvml
import pytest

from fake_nvml.build import compile_sources

REPORT_SOURCE = Path(__file__).parent / "abi_report.c"


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    program = tmp_path_factory.mktemp("abi") / "report"
    compile_sources(program, [REPORT_SOURCE])
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {words[0]: words[1:] for words in map(str.split, printed.split("\n")) if words}


def test_structs_have_the_size_that_the_binding_declares(layouts: dict[str, list[str]]) -> None:
    """Every struct of the fake is as long as ctypes' own."""
    sizes = {name: int(words[0]) for name, words in layouts.items()}
    assert len(sizes) > 20
    assert sizes == {name: ctypes.sizeof(getattr(pynvml, name)) for name in sizes}


def test_fields_lie_where_the_binding_declares_them(layouts: dict[str, list[str]]) -> None:
    """The fields that padding could move are at ctypes' own offsets."""
    for name, words in layouts.items():
        for word in words[1:]:
            field, offset = word.split("=")
            assert getattr(getattr(pynvml, name), field).offset == int(offset), f"{name}.{field}"


def test_gpm_metrics_start_where_the_binding_declares_them() -> None:
    """The array behind the two samples is found at any length that a binding gives it."""
    assert pynvml.c_nvmlGpmMetricsGet_t.metrics.offset == 2 * 4 + 2 * 8
