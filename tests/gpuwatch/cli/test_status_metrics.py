"""`status --format prometheus`: metrics for cron and for node_exporter's textfile collector."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from gpuwatch.cli import main
from gpuwatch.source import LocalSource
from gpuwatch_agent.model.errors import DriverNotLoadedError
from gpuwatch_agent.model.frame import Frame
from support.node_exporter import node_exporter
from support.programs import needs


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have settings; these must not matter."""
    for name in [name for name in os.environ if name.startswith("GPUWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where node_exporter would look."""
    (tmp_path / "textfiles").mkdir()
    return tmp_path / "textfiles"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame]) -> list[bool]:
    """This machine is the healthy sample; the list tells which frames were asked for with rates."""
    rates_wanted: list[bool] = []

    def frame(_self: LocalSource, *, rates: bool) -> Frame:
        rates_wanted.append(rates)
        return frames["healthy"]

    monkeypatch.setattr(LocalSource, "frame", frame)
    return rates_wanted


def fail_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def frame(_self: LocalSource, *, rates: bool) -> NoReturn:
        raise DriverNotLoadedError

    monkeypatch.setattr(LocalSource, "frame", frame)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"(?m)^(\w+)[{ ]", text))


def test_metrics_go_to_the_pipe(asked: list[bool], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`status --format prometheus` prints what a scrape of this moment would give, without waiting for rates."""
    assert main(["status", "--format", "prometheus"]) == 0
    names = names_in(capfdbinary.readouterr().out.decode())
    assert {"gpuwatch_gpu_power_watts", "gpuwatch_gpu_info"} <= names
    assert asked == [False]


def test_rates_can_be_waited_for(asked: list[bool], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--rates` means here what it means for the table."""
    assert main(["status", "--format", "prometheus", "--rates"]) == 0
    assert asked == [True]


def test_dcgms_names_are_a_format_too(
    asked: list[bool], monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """With the host's label as configured."""
    monkeypatch.setenv("GPUWATCH_DCGM_HOST_LABEL", "hostname")
    assert main(["status", "--format", "dcgm"]) == 0
    printed = capfdbinary.readouterr().out.decode()
    assert 'DCGM_FI_DEV_GPU_TEMP{DCGM_FI_DRIVER_VERSION="570.124.06"' in printed
    assert 'hostname="node07"' in printed
    assert "gpuwatch_" not in printed


def test_json_and_table_are_formats(asked: list[bool], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--format json` is `--json`, `--format table` what comes without a flag."""
    assert main(["status", "--format", "json"]) == 0
    assert msgspec.json.decode(capfdbinary.readouterr().out, type=Frame).node == "node07"
    assert main(["status", "--format", "table"]) == 0
    assert b"8\xc3\x97H100" in capfdbinary.readouterr().out


def test_a_file_is_whole_readable_for_all_and_alone(asked: list[bool], folder: Path) -> None:
    """Mode 0644 whatever the umask, nothing left beside it, and an older one is replaced."""
    file = folder / "gpuwatch.prom"
    file.write_text("old")
    before = os.umask(0o077)
    try:
        assert main(["status", "--format", "prometheus", "--output", str(file)]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert "gpuwatch_gpu_power_watts" in names_in(file.read_text(encoding="utf-8"))
    assert list(folder.iterdir()) == [file]


def test_a_reader_never_sees_a_part(asked: list[bool], folder: Path) -> None:
    """Who has the old file open goes on reading the old one: it was replaced, not written over."""
    file = folder / "gpuwatch.prom"
    file.write_text("old")
    with file.open() as reader:
        assert main(["status", "--format", "prometheus", "--output", str(file)]) == 0
        assert reader.read() == "old"


def test_a_write_that_fails_leaves_the_old_file(
    asked: list[bool], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs one update: exit code 3, a sentence, no half file."""

    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    file = folder / "gpuwatch.prom"
    file.write_text("old")
    monkeypatch.setattr(os, "fchmod", full)
    assert main(["status", "--format", "prometheus", "--output", str(file)]) == 3
    assert f"{file} can't be written: no space left on device." in capsys.readouterr().err
    assert file.read_text() == "old"
    assert list(folder.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_named(
    asked: list[bool], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the file that was asked for, not one of ours."""
    file = folder / "missing" / "gpuwatch.prom"
    assert main(["status", "--format", "prometheus", "--output", str(file)]) == 3
    assert f"{file} can't be written: no such file or directory." in capsys.readouterr().err


def test_a_failed_read_takes_the_old_values_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and the sentence; the file says that nothing can be read instead of what once was."""
    file = folder / "gpuwatch.prom"
    file.write_text('gpuwatch_gpu_power_watts{gpu="0",uuid="GPU-0"} 700\n')
    fail_to_read(monkeypatch)
    assert main(["status", "--format", "prometheus", "--output", str(file)]) == 3
    assert "driver is installed but not loaded" in capsys.readouterr().err
    text = file.read_text(encoding="utf-8")
    assert "gpuwatch_driver_usable 0.0\n" in text
    assert "gpuwatch_gpu_power_watts" not in names_in(text)
    assert list(folder.iterdir()) == [file]


def test_an_agent_that_does_not_answer_leaves_no_values(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known of the other node's driver, so nothing is said: the file goes."""
    file = folder / "gpuwatch.prom"
    file.write_text('gpuwatch_gpu_power_watts{gpu="0",uuid="GPU-0"} 700\n')
    flags = ["--connect", "http://127.0.0.1:1", "--format", "prometheus", "--output", str(file)]
    assert main(["status", *flags]) == 3
    assert "127.0.0.1:1" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_wrong_flags_leave_the_file_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error says nothing about the GPUs."""
    file = folder / "gpuwatch.prom"
    file.write_text("old")
    assert main(["status", "--sim", "nonesuch", "--format", "prometheus", "--output", str(file)]) == 2
    assert file.read_text() == "old"


def test_a_failed_read_prints_nothing_into_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever pipes it on sees the exit code and an empty output."""
    fail_to_read(monkeypatch)
    assert main(["status", "--format", "prometheus"]) == 3
    assert capfd.readouterr().out == ""


def test_watch_writes_the_file_again_and_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame]
) -> None:
    """Each moment replaces the one before."""
    file = folder / "gpuwatch.prom"
    written: list[int] = []

    def two_moments(_self: LocalSource, interval_s: float) -> Iterator[Frame]:
        assert interval_s == 15
        yield frames["healthy"]
        written.append(file.stat().st_ino)
        yield frames["one_gpu"]

    monkeypatch.setattr(LocalSource, "frames", two_moments)
    assert main(["status", "--format", "prometheus", "--watch", "15", "--output", str(file)]) == 0
    assert written
    assert 'gpu="1"' not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--output", "x.prom"], "--output is for metrics."),
        (["--json", "--output", "x.prom"], "--output is for metrics."),
        (["--json", "--format", "dcgm"], "--json and --format dcgm exclude each other."),
        (["--watch", "5", "--format", "prometheus"], "Metrics on and on need a file"),
        (["--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_flags_that_make_no_sense_together_are_refused(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and a sentence that says what to do."""
    assert main(["status", *flags]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("machine", ["dgx-h100-8", "h100-mig", "dgx2-v100-16", "none"])
def test_promtool_is_silent_about_what_is_written(machine: str, folder: Path) -> None:
    """What one reading gives follows the conventions, also where a machine has little."""
    needs("promtool")
    file = folder / "gpuwatch.prom"
    assert main(["status", "--sim", machine, "--format", "prometheus", "--output", str(file)]) == 0
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=file.read_bytes(), capture_output=True, check=False, timeout=30
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


@pytest.mark.parametrize("names", ["prometheus", "dcgm"])
def test_a_real_node_exporter_passes_every_sample_on(names: str, folder: Path) -> None:
    """Every line of the file comes out of its scrape, without an error of its collector."""
    file = folder / "gpuwatch.prom"
    assert main(["status", "--sim", "dgx-h100-8", "--format", names, "--output", str(file)]) == 0
    with node_exporter(folder) as server:
        scraped = server.scrape()
    assert "node_textfile_scrape_error 0" in scraped
    assert f'node_textfile_mtime_seconds{{file="{file}"}}' in scraped
    expected = names_in(file.read_text(encoding="utf-8"))
    assert len(expected) > 40
    assert expected <= names_in(scraped)
    for name in expected:
        pattern = rf"(?m)^{name}[{{ ]"
        assert len(re.findall(pattern, scraped)) == len(re.findall(pattern, file.read_text(encoding="utf-8")))
