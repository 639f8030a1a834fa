"""`gpuwatch probe` as people run it, on ranks that are made for the test."""

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import structs

from fake_nvml.fixtures import FakeNode
from gpuwatch.cli import main, probe_run
from gpuwatch.render.probe_history import compare, render_comparison, render_history
from gpuwatch.render.probe_table import render_result, to_csv
from gpuwatch_agent.probes.plan import Machine
from gpuwatch_agent.probes.result import Expected, RankTimes
from gpuwatch_agent.probes.store import Store
from support.fake_torch import fake_torch
from support.probes import probe_processes, result, row

GIB = 1 << 30
WHOLE = result(
    [row(1024, 14.2), row(64 << 10, 18.9, latency_us_p99=None), row(GIB, 4012.0)],
    passed=True,
    verdict="As expected: 468 GB/s bus bandwidth with 1 GiB, 98 % of the 480 that 8×H100 80GB HBM3 over NVSwitch reach elsewhere.",
    expected=Expected(busbw_gb_per_s=480, at_bytes=4 * GIB, what="8×H100", source="a published log"),
    rank_times=[RankTimes(rank=rank, gpu=rank, work_us_p50=400.0, call_us_p50=31.0) for rank in range(8)],
    notes=["Forced while in use: GPU 1 is in use by python3 (PID 41, ada)."],
)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody's settings, and a state of its own."""
    for name in [name for name in os.environ if name.startswith("GPUWATCH_") and name != "GPUWATCH_REWRITE_GOLDEN"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OF_TEST", str(tmp_path))
    return tmp_path


def stored(home: Path) -> list[Path]:
    return sorted((home / "state/gpuwatch/probes").glob("*.json"))


def probe(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpuwatch", "probe", "allreduce", "--cpu", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_table_and_a_stored_result(home: Path) -> None:
    """In a pipe the table alone; the result is in the history afterwards."""
    ran = probe(fake_torch(home), "--quick", "--sizes", "1K:64K")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "CPU, not comparable" in ran.stdout
    assert "64 KiB" in ran.stdout
    (path,) = stored(home)
    assert json.loads(path.read_bytes())["state"] == "done"
    assert probe_processes(str(home)) == set()


def test_json_is_the_contract(home: Path) -> None:
    """The fields that scripts read."""
    ran = probe(fake_torch(home), "--sizes", "1K:4K", "--json")
    document = json.loads(ran.stdout)
    assert (document["kind"], document["schema"], document["backend"], document["ranks"]) == ("allreduce", 1, "gloo", 2)
    assert document["verdict"]
    wanted = {"bytes", "latency_us_p50", "latency_us_p99", "algbw_gb_per_s", "busbw_gb_per_s", "wrong"}
    assert all(wanted <= set(one) for one in document["results"])
    assert [one["bytes"] for one in document["results"]] == [1024, 2048, 4096]


def test_csv_is_one_line_a_size(home: Path) -> None:
    """With a head, and an empty cell for what is not known."""
    lines = list(csv.DictReader(io.StringIO(to_csv(WHOLE))))
    assert [line["bytes"] for line in lines] == ["1024", "65536", str(GIB)]
    assert lines[1]["latency_us_p99"] == ""
    assert probe(fake_torch(home), "--sizes", "1K", "--csv").stdout.startswith("id,backend,ranks,bytes,dtype,")


@pytest.mark.parametrize(
    ("ranks", "arguments", "words"),
    [
        ("crash", (), "gpuwatch: Rank 0 ended by signal 11."),
        ("port", (), "gpuwatch: A port that the ranks meet on was taken"),
        ("stubborn", ("--deadline", "1"), "gpuwatch: Not done within 1 s. Give it longer with --deadline"),
        ("out_of_memory", (), "gpuwatch: Memory did not suffice for messages of 2 KiB."),
    ],
)
def test_a_bad_day_is_one_sentence_and_exit_3(home: Path, ranks: str, arguments: tuple[str, ...], words: str) -> None:
    """No traceback, nothing left; what was measured is shown and kept."""
    ran = probe(fake_torch(home, ranks), "--sizes", "1K:4K", *arguments)
    assert ran.returncode == 3
    assert ran.stderr.startswith(words)
    assert ran.stderr.count("\n") == 1
    assert ("1 KiB" in ran.stdout) == (ranks in {"crash", "out_of_memory"})
    assert len(stored(home)) == 1
    assert probe_processes(str(home)) == set()


def test_torch_missing_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that brings it."""
    bare = Machine(has_torch=False, shared_memory_free=None, memory_available=GIB)
    monkeypatch.setattr(probe_run, "look_at_machine", lambda: bare)
    assert main(["probe", "allreduce", "--cpu"]) == 3
    told = capsys.readouterr().err
    assert told == (
        "gpuwatch: Probes run on torch, which is not installed beside gpuwatch. "
        "Install it with `pip install 'gpuwatch-node[probes]'`.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["probe"], "What to measure was not said."),
        (["probe", "allreduce", "--ranks", "1", "--cpu"], "at least two ranks"),
        (["probe", "allreduce", "--ranks", "0"], "is not a number of ranks"),
        (["probe", "allreduce", "--gpus", "0,0"], "names a GPU twice"),
        (["probe", "allreduce", "--gpus", "3-1"], "is not a list of GPU numbers"),
        (["probe", "allreduce", "--sizes", "1:2"], "is not a size"),
        (["probe", "allreduce", "--dtype", "int8"], "there is no type 'int8'"),
        (["probe", "allreduce", "--deadline", "0"], "is not a number of seconds"),
        (["probe", "allreduce", "--json", "--csv"], "not allowed with"),
        (["probe", "allreduce", "--sim", "dgx-h100-8"], "Simulated GPUs can't be measured."),
        (["--sim", "dgx-h100-8", "probe", "allreduce"], "Simulated GPUs can't be measured."),
        (["probe", "allreduce", "--connect", "node07"], "Probes run on the node that they measure."),
        (["probe", "compare", "1", "2"], "No stored result begins with '1'."),
        (["probe", "history", "--limit", "0"], "is not a number above 0"),
    ],
)
def test_bad_usage_is_said_and_exit_2(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """One sentence each, before anything starts."""
    some = Machine(has_torch=True, shared_memory_free=None, memory_available=GIB)
    monkeypatch.setattr(probe_run, "look_at_machine", lambda: some)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert stored(home) == []


def test_ctrl_c_twice_leaves_nothing_and_keeps_what_was_measured(home: Path) -> None:
    """On a real terminal with ranks that ignore being asked: progress is shown, both signals are taken, the terminal is clean."""
    environ = {**fake_torch(home, "stubborn_later"), "TERM": "xterm"}
    command = [sys.executable, "-m", "gpuwatch", "probe", "allreduce", "--cpu", "--sizes", "1K:4K"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=theirs, text=True) as running:
        os.close(theirs)
        shown = read_until(ours, b"2 KiB")
        assert b"latency 2 KiB float32   33 %, about 1 s left (Ctrl-C: stop)" in shown
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        table = running.stdout.read()
        told = read_until(ours, b"left running.\r\n")
        os.close(ours)
        assert running.wait(20) == 130
    assert "1 KiB" in table
    assert told.endswith(b"gpuwatch: Stopped; nothing was left running.\r\n")
    assert probe_processes(str(home)) == set()
    (path,) = stored(home)
    assert json.loads(path.read_bytes())["state"] == "cancelled"


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What is shown up to there; a terminal that stays silent for long fails the test."""
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 20)[0], shown
        shown += os.read(terminal, 4096)
    return shown


def test_history_and_comparison(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Listed by number, compared by number or beginning, in words and as JSON."""
    store = Store(home / "state/gpuwatch/probes", keep=10)
    store.add(structs.replace(WHOLE, id="20261120T000000-allreduce-0001"))
    slower = [row(1024, 14.2), row(GIB, 5015.0)]
    store.add(structs.replace(WHOLE, id="20261121T000000-allreduce-0002", results=slower, passed=False))
    assert main(["probe", "history"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "20261121T000000-allreduce-0002" in listed[1]
    assert "not passed" in listed[1]
    assert listed[2].strip().startswith("2 ")
    assert main(["probe", "history", "--json", "--limit", "1"]) == 0
    assert [run["id"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["20261121T000000-allreduce-0002"]
    assert main(["probe", "compare", "2", "20261121"]) == 0
    compared = capsys.readouterr().out
    assert "+25.0 %" in compared
    assert "-20.0 %" in compared
    assert main(["probe", "compare", "2", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["bytes"] for one in document["results"]] == [1024, GIB]
    assert document["results"][1]["busbw_change_pct"] == pytest.approx(-20.0)


def test_an_empty_history_says_how_to_begin() -> None:
    """Before the first run."""
    assert "gpuwatch probe allreduce --quick" in render_history([], width=80, colour=False, unicode=True)


def test_what_makes_two_runs_differ_is_told() -> None:
    """Another backend and number of ranks is no regression."""
    other = structs.replace(WHOLE, id="other", backend="gloo", ranks=2, nccl_version=None, p2p_disabled=True)
    comparison = compare(WHOLE, other)
    assert comparison.differences == [
        "backend: nccl and gloo",
        "ranks: 8 and 2",
        "NCCL: 2.29.3 and –",
        "P2P: on and off",
    ]
    assert "not the same, ranks: 8 and 2" in render_comparison(comparison, width=100, colour=False, unicode=True)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_table_fits(width: int) -> None:
    """No line is wider than the terminal, in ASCII neither; the plot is there where it has room."""
    for unicode in (True, False):
        drawn = render_result(WHOLE, width=width, colour=False, unicode=unicode)
        assert max(map(len, drawn.splitlines())) <= width
        assert drawn.isascii() or unicode
        assert (("█" if unicode else "#") in drawn) == (width >= 80)


def test_the_table_says_it_all() -> None:
    """Boards, versions, sizes, bandwidth as a bar, ranks, verdict, source and notes; a dash for what is not known."""
    drawn = render_result(WHOLE, width=120, colour=False, unicode=True)
    for words in (
        "8×H100 80GB HBM3 (GPU 0-7) over NVSwitch",
        "nccl 2.29.3",
        "468.4",
        "GPU 3 400.0 + 31.0",
        "As expected: 468 GB/s",
        "a published log",
        "python3 (PID 41, ada)",
    ):
        assert words in drawn
    (middle,) = [line for line in drawn.splitlines() if "64 KiB" in line]
    assert "–" in middle
    assert "CPU" not in drawn


def on_gpus(node: FakeNode, home: Path, ranks: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """On the fake driver's GPUs, with ranks made for the test."""
    made = fake_torch(home, ranks)
    environ = {**made, **node.env, "PYTHONPATH": made["PYTHONPATH"], "FAKE_RANKS": ranks}
    command = [sys.executable, "-m", "gpuwatch", "probe", "allreduce", "--sizes", "1K:2K", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_gpus_in_use_are_refused_and_forced(home: Path, fake_node: FakeNode) -> None:
    """A busy machine is left alone, and it is said why; --force measures and says so, too."""
    refused = on_gpus(fake_node, home, "well", "--gpus", "0,1")
    assert refused.returncode == 3
    assert re.match(r"gpuwatch: GPU 0 is \d+ % busy with something", refused.stderr)
    assert stored(home) == []
    forced = on_gpus(fake_node, home, "well", "--gpus", "0,1", "--force", "--json")
    assert forced.returncode == 0, forced.stderr
    document = json.loads(forced.stdout)
    assert (document["device"], document["backend"], document["ranks"]) == ("cuda", "nccl", 2)
    assert [gpu["index"] for gpu in document["gpus"]] == [0, 1]
    assert document["fabric"] == "nvswitch"
    assert re.match(r"Forced while in use: GPU 0 is \d+ % busy", document["notes"][0])


def test_ranks_see_the_gpus_they_were_given(home: Path, fake_node: FakeNode) -> None:
    """By UUID, in the order that was asked for, whatever CUDA numbers them."""
    ran = on_gpus(fake_node, home, "tell", "--gpus", "3,1", "--force", "--json")
    document = json.loads(ran.stdout)
    assert document["torch_version"] == ",".join(gpu["uuid"] for gpu in document["gpus"])
    assert [gpu["index"] for gpu in document["gpus"]] == [3, 1]


def test_a_gpu_that_is_not_there_is_named(home: Path, fake_node: FakeNode) -> None:
    """More ranks than GPUs, or a number beyond."""
    assert "9 ranks were asked for, and this node has 8 GPUs" in on_gpus(fake_node, home, "well", "--ranks", "9").stderr
    assert "There is no GPU 8 on this node." in on_gpus(fake_node, home, "well", "--gpus", "8,1").stderr


def test_decode_is_a_probe_like_the_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table, JSON by the contract, CSV, and a place in the history, which is not compared size by size."""

    def decode(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gpuwatch", "probe", "decode", "--cpu", "--quick", *arguments]
        return subprocess.run(command, env=fake_torch(home), capture_output=True, text=True, check=False)

    table = decode()
    assert (table.returncode, table.stderr) == (0, "")
    assert "model small, float32, batch 1, context 128" in table.stdout
    assert "CPU, not comparable: model small, batch 1: 100 tokens/s over 1, 100 tokens/s over 2" in table.stdout
    document = json.loads(decode("--json", "--tp", "2").stdout)
    assert (document["kind"], document["model"], document["ranks"]) == ("decode", "small", 2)
    (only,) = document["results"]
    assert {"tp", "tokens_per_s", "ms_per_step_p50", "allreduce_share", "efficiency", "joules_per_token"} <= set(only)
    assert only["joules_per_token"] is None
    assert decode("--csv", "--tp", "1").stdout.startswith("id,backend,ranks,tp,steps,tokens_per_s,")
    assert main(["probe", "history"]) == 0
    assert "decode small 2 ranks, CPU gloo" in capsys.readouterr().out
    assert main(["probe", "compare", "1", "2"]) == 2
    assert "Only runs of `probe allreduce` are compared" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tp", "3"], "4 heads can't be shared by 3 ranks"),
        (["--tp", "9"], "is not a list of numbers from 1 to 8"),
        (["--model", "9b"], "invalid choice: '9b'"),
        (["--gpus", "0"], "--gpus is for GPUs"),
    ],
)
def test_bad_usage_of_decode_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """One sentence, exit 2."""
    some = Machine(has_torch=True, shared_memory_free=None, memory_available=GIB)
    monkeypatch.setattr(probe_run, "look_at_machine", lambda: some)
    assert main(["probe", "decode", "--cpu", *arguments]) == 2
    assert words in capsys.readouterr().err
