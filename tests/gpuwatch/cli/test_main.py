import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gpuwatch.cli import agent_main, main
from gpuwatch.cli.commands import COMMANDS
from gpuwatch.source import LocalSource
from gpuwatch_agent.agent import Mounts
from gpuwatch_agent.config import Config
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.errors import DriverNotLoadedError
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.topology import Topology


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have settings; these must not matter."""
    for name in [name for name in os.environ if name.startswith("GPUWATCH_") and name != "GPUWATCH_REWRITE_GOLDEN"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame], topologies: dict[str, Topology]) -> list[bool]:
    """This machine is the healthy sample; the list tells which frames were asked for with rates."""
    asked: list[bool] = []

    def frame(_self: LocalSource, *, rates: bool) -> Frame:
        asked.append(rates)
        return frames["healthy"]

    monkeypatch.setattr(LocalSource, "frame", frame)
    monkeypatch.setattr(LocalSource, "frames", lambda _self, _interval_s: iter([frames["healthy"]] * 2))
    monkeypatch.setattr(LocalSource, "topology", lambda _self: topologies["eight"])
    return asked


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_status_prints_the_table(node: list[bool], capsys: pytest.CaptureFixture[str]) -> None:
    """`status` shows every GPU and ends well, without waiting for rates."""
    assert main(["status"]) == 0
    assert "8×H100 80GB HBM3" in capsys.readouterr().out
    assert node == [False]


def test_without_a_command_and_a_terminal_status_is_printed(
    node: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    """`gpuwatch | less` shows what `status` prints."""
    assert main(["status"]) == 0
    table = capsys.readouterr().out
    assert main([]) == 0
    assert capsys.readouterr().out == table


def test_json_is_the_frame(
    node: list[bool], frames: dict[str, Frame], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`status --json` is one document that reads back as the frame."""
    assert main(["status", "--json", "--rates"]) == 0
    assert msgspec.json.decode(capfdbinary.readouterr().out, type=Frame) == frames["healthy"]
    assert node == [True]


def test_json_and_watch_is_one_document_a_line(node: list[bool], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A script reads line by line."""
    assert main(["status", "--json", "--watch", "1"]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["node"] for line in lines] == ["node07", "node07"]


def test_watch_into_a_pipe_prints_one_table_after_the_other(
    node: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal nothing is repainted and no escape is sent."""
    assert main(["status", "--watch", "0.5"]) == 0
    text = capsys.readouterr().out
    assert text.count("gpuwatch  node07") == 2
    assert "\x1b" not in text


def test_topo_speaks_both(
    node: list[bool], topologies: dict[str, Topology], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`topo` prints the matrix, `topo --json` the document."""
    assert main(["topo"]) == 0
    assert b"NV18" in capfdbinary.readouterr().out
    assert main(["topo", "--json"]) == 0
    assert msgspec.json.decode(capfdbinary.readouterr().out, type=Topology) == topologies["eight"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sim", "l4", "status", "--json"],
        ["status", "--sim", "l4", "--json"],
        ["status", "--json", "--sim=l4"],
        ["--sim=l4", "status", "--json"],
        ["--sim", "l4", "--json"],
    ],
)
def test_global_flags_go_anywhere(
    arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame]
) -> None:
    """Before the command, after it, or without one."""
    seen: list[str] = []

    def frame(self: LocalSource, *, rates: bool) -> Frame:
        seen.append(self._config.hardware.simulate)
        return frames["no_gpu"]

    monkeypatch.setattr(LocalSource, "frame", frame)
    assert main(arguments) == 0
    assert seen == ["l4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["statsu"], "There is no command 'statsu' here. Did you mean status?"),
        (["status", "--jsno"], "There is no argument '--jsno' here. Did you mean --json?"),
        (["status", "now"], "There is no word 'now' here."),
        (["status", "--watch", "fast"], "'fast' is not a number of seconds from 0.1 to 3600"),
        (["status", "--watch", "0.01"], "'0.01' is not a number of seconds"),
        (["status", "--watch", "nan"], "'nan' is not a number of seconds"),
        (["status", "--processes", "many"], "'many' is neither a number nor all or none"),
        (["status", "--sim"], "expected one argument"),
        (["status", "--sim", "l4", "--connect", "node07"], "--connect and --sim exclude each other."),
        (["status", "--connect", "ftp://node07"], "'ftp://node07' is no agent's address."),
        (["status", "--config", "/nonexistent.toml"], "/nonexistent.toml does not exist."),
        (["agent", "--listen", "nowhere"], "--listen can't be 'nowhere': allowed is HOST:PORT"),
        (["agent", "--connect", "node07"], "--connect means nothing to it."),
    ],
)
def test_bad_usage_is_a_sentence_and_2(
    arguments: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can't be understood is told in words that help, on stderr."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


def test_no_driver_is_a_sentence_and_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The error's own words and what to do, never a traceback."""

    def frame(_self: LocalSource, *, rates: bool) -> Frame:
        raise DriverNotLoadedError

    monkeypatch.setattr(LocalSource, "frame", frame)
    assert main(["status"]) == 3
    told = capsys.readouterr().err
    assert told.startswith("gpuwatch: The NVIDIA driver is installed but not loaded. Try `sudo modprobe nvidia`")
    assert told.count("\n") == 1


def test_an_agent_without_a_driver_is_shown_and_3(
    monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame], capsys: pytest.CaptureFixture[str]
) -> None:
    """A frame that says why it is empty is printed, and is no success."""
    monkeypatch.setattr(LocalSource, "frame", lambda _self, **_: frames["no_driver"])
    assert main(["status"]) == 3
    assert "The NVIDIA driver is installed but not loaded." in capsys.readouterr().out


def test_a_bug_of_ours_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback unless GPUWATCH_DEBUG asks for it."""

    def frame(_self: LocalSource, *, rates: bool) -> Frame:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(LocalSource, "frame", frame)
    assert main(["status"]) == 3
    assert "gpuwatch itself failed, which is a bug: ZeroDivisionError: oh." in capsys.readouterr().err
    monkeypatch.setenv("GPUWATCH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["status"])


def test_interrupted_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and without a word."""

    def frame(_self: LocalSource, *, rates: bool) -> Frame:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalSource, "frame", frame)
    assert main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["sims"], ["--help"], ["--version"]])
def test_a_closed_pipe_is_quiet(arguments: list[str]) -> None:
    """`gpuwatch … | head -0` ends with 141 and without a word, also at interpreter exit."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "gpuwatch", *arguments], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_full_disk_is_a_sentence() -> None:
    """Output that can't be written is told."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "gpuwatch", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 3
    assert ended.stderr == "gpuwatch: The system refused: no space left on device.\n"


def test_help_names_every_command_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """The help is true: each command is there, has its own help, and no word of what does not exist."""
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.partition("commands\n")[2].partition("\n\n")[0].splitlines()]
    assert listed == [command.name for command in COMMANDS]
    assert all(len(line) <= 100 for line in text.splitlines())
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([command.name, "--help"])
        assert ended.value.code == 0
        assert f"usage: gpuwatch {command.name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the installed distribution's version."""
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gpuwatch {version('gpuwatch-node')}\n"


def test_agent_flags_reach_the_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`gpuwatch-agent` is `gpuwatch agent`, and its flags go over the file."""
    import gpuwatch_agent.agent

    started: list[Config] = []

    def run_agent(config: Config, *, mounts: Mounts) -> int:
        started.append(config)
        assert [path for path, _ in mounts(FrameHub())] == ["/metrics"]
        return 0

    monkeypatch.setattr(gpuwatch_agent.agent, "run_agent", run_agent)
    file = tmp_path / "c.toml"
    file.write_text("[sampling]\ninterval_s = 5\nslow_s = 50\n")
    arguments = [
        "--config",
        str(file),
        "--listen",
        "[::1]:9999",
        "--interval",
        "0.5",
        "--sim",
        "l4",
        "--insecure-no-auth",
    ]
    assert agent_main(arguments) == 0
    (config,) = started
    assert (config.agent.listen, config.agent.insecure_no_auth) == ("[::1]:9999", True)
    assert (config.sampling.interval_s, config.sampling.slow_s, config.hardware.simulate) == (0.5, 50.0, "l4")


def test_status_loads_nothing_heavy() -> None:
    """A one-shot `status` stays quick: no user interface, no torch, no HTTP client, no event loop."""
    code = (
        "import sys\nfrom gpuwatch.cli import main\ncode = main(['status', '--sim', 'dgx-h100-8'])\n"
        "heavy = {'textual', 'torch', 'rich', 'httpx', 'asyncio', 'starlette', 'uvicorn', 'tomllib',\n"
        "'gpuwatch_agent.judging', 'gpuwatch_agent.detectors.engine'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    ended = python(code)
    assert (ended.returncode, ended.stderr) == (0, "[]\n")


def test_a_simulated_node_from_end_to_end() -> None:
    """The installed command shows a simulated machine, marked as such, as table and as JSON."""
    command = [sys.executable, "-m", "gpuwatch", "--sim", "dgx-h100-8", "status"]
    table = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert "SIMULATED" in table.splitlines()[0]
    document = subprocess.run([*command, "--json"], capture_output=True, check=True).stdout
    frame = msgspec.json.decode(document, type=Frame)
    assert frame.simulated
    assert len(frame.gpus) == 8


def test_sims_lists_every_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Each name that `sims` shows is one that --sim takes, and none is left out."""
    from gpuwatch_agent.hardware.simulated.machines import MACHINES

    assert main(["sims"]) == 0
    shown = capsys.readouterr().out.partition("faults")[0]
    assert [line.split()[0] for line in shown.splitlines()[1:] if line.startswith("   ") and line[3] != " "] == list(
        MACHINES
    )


def test_json_survives_an_ascii_locale(monkeypatch: pytest.MonkeyPatch, frames: dict[str, Frame]) -> None:
    """JSON is UTF-8 whatever the terminal can show."""
    monkeypatch.setattr(LocalSource, "frame", lambda _self, **_: frames["sixteen"])
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["status", "--json"]) == 0
    assert msgspec.json.decode(raw.getvalue(), type=Frame) == frames["sixteen"]
