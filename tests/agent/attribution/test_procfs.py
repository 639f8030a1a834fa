import contextlib
import os
import pwd
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import json

from gpuwatch_agent.attribution.procfs import ProcessTable, Stat, arguments, innermost_pid, wanted_variables

TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """A clock that goes where a test puts it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FakeProc:
    """A /proc of files under a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "stat").write_text("cpu 1 2 3\nintr 9\nctxt 4\nbtime 1700000000\nprocesses 5\n")
        (root / "uptime").write_text("1000.00 2000.00\n")

    def add(
        self,
        pid: int,
        *,
        ppid: int = 1,
        comm: bytes = b"python",
        state: bytes = b"S",
        start_ticks: int = 500,
        cmdline: bytes | None = b"python\0a.py\0",
        environ: bytes | None = b"RANK=1\0HF_TOKEN=secret\0",
        cgroup: bytes | None = b"0::/\n",
    ) -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        stat = b"%d (%s) %s %d 7 8 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 %d 4096 25 184467" % (
            pid, comm, state, ppid, start_ticks,
        )  # fmt: skip
        (folder / "stat").write_bytes(stat + b" 0" * 27 + b"\n")
        for name, content in (("cmdline", cmdline), ("environ", environ), ("cgroup", cgroup)):
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_bytes(content)


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(proc: FakeProc, clock: Clock) -> ProcessTable:
    return ProcessTable(proc.root, clock)


def test_reads_a_process(proc: FakeProc, table: ProcessTable) -> None:
    """Every fact comes from its file, in base units, with the owner's name."""
    proc.add(40, ppid=0, cgroup=b"0::/docker/x\n")
    one = table.facts([40])[40]
    assert (one.ppid, one.session, one.name, one.command) == (0, 8, "python", ("python", "a.py"))
    assert one.user == pwd.getpwuid(os.getuid()).pw_name
    assert one.cgroup == "0::/docker/x\n"
    assert one.cpu_s == pytest.approx(200 / TICKS)
    assert one.rss_bytes == 25 * os.sysconf("SC_PAGE_SIZE")
    assert one.started_at == pytest.approx(1700000000 + 500 / TICKS)


def test_an_environment_is_read_for_what_is_asked_only(proc: FakeProc, table: ProcessTable) -> None:
    """Secrets in an environment never reach the facts."""
    proc.add(40, environ=b"RANK=1\0HF_TOKEN=secret\0NCCL_DEBUG=INFO\0OMPI_COMM_WORLD_RANK=2\0garbage\0RANK=9\0")
    assert table.facts([40])[40].environ == {"RANK": "1", "NCCL_DEBUG": "INFO", "OMPI_COMM_WORLD_RANK": "2"}


def test_ancestors_come_along_up_to_sixteen_levels(proc: FakeProc, table: ProcessTable) -> None:
    """Inference sees parents, and a chain without end stops."""
    for pid in range(100, 140):
        proc.add(pid, ppid=pid + 1)
    assert sorted(table.facts([100])) == list(range(100, 117))


def test_a_loop_of_parents_ends(proc: FakeProc, table: ProcessTable) -> None:
    """Parents read while they change may point at each other."""
    proc.add(40, ppid=41)
    proc.add(41, ppid=40)
    assert sorted(table.facts([40])) == [40, 41]


def test_what_is_not_there_is_not_in_the_answer(proc: FakeProc, table: ProcessTable) -> None:
    """Dead, hidden and impossible PIDs are left out; the others are read."""
    proc.add(40)
    assert sorted(table.facts([39, 40, 0, -5, 2**40])) == [40]


def test_a_whole_proc_may_be_missing(tmp_path: Path) -> None:
    """In a container without the host's /proc nothing is found and nothing breaks."""
    assert ProcessTable(tmp_path / "none").facts([1, 2]) == {}


def test_files_that_may_not_be_read_are_none(proc: FakeProc, table: ProcessTable) -> None:
    """A foreign process keeps what may be seen of it."""
    proc.add(40, environ=None, cgroup=None)
    one = table.facts([40])[40]
    assert (one.environ, one.cgroup) == (None, None)
    assert one.command == ("python", "a.py")


def test_no_boot_time_means_no_start_time(proc: FakeProc, table: ProcessTable) -> None:
    """Where /proc/stat is masked the start is unknown, not 1970."""
    (proc.root / "stat").unlink()
    (proc.root / "uptime").unlink()
    proc.add(40)
    assert table.facts([40])[40].started_at is None


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        (b"a (b) c", "a (b) c"),
        (b"x) R 1 (y", "x) R 1 (y"),
        (b"two\nlines", "two\nlines"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"", ""),
    ],
)
def test_odd_names(proc: FakeProc, table: ProcessTable, comm: bytes, name: str) -> None:
    """Parentheses, newlines and bytes that are no UTF-8 neither break nor shift a field, and JSON takes them."""
    proc.add(40, comm=comm, ppid=7, cmdline=b"caf\xe9\0\xf0\x9f\x92\0")
    one = table.facts([40])[40]
    assert (one.name, one.ppid, one.command) == (name, 7, ("caf\\xe9", "\\xf0\\x9f\\x92"))
    assert json.decode(json.encode(one))["pid"] == 40


def test_kernel_threads_and_zombies_are_in_brackets(proc: FakeProc, table: ProcessTable) -> None:
    """What has no command line is called by its short name, in the way ps does."""
    proc.add(40, comm=b"kworker/0:1", cmdline=b"")
    proc.add(41, state=b"Z", cmdline=b"", environ=None)
    found = table.facts([40, 41])
    assert [(found[pid].name, found[pid].command) for pid in (40, 41)] == [("[kworker/0:1]", ()), ("[python]", ())]


def test_a_title_written_over_the_arguments(proc: FakeProc, table: ProcessTable) -> None:
    """Padding behind a title is no argument."""
    proc.add(40, cmdline=b"VLLM::Worker_TP0\0\0\0\0\0")
    assert table.facts([40])[40].command == ("VLLM::Worker_TP0",)


def test_a_reused_pid_is_another_process(proc: FakeProc, table: ProcessTable) -> None:
    """The start time tells that a PID was given to somebody else; nothing of the old one stays."""
    proc.add(40, start_ticks=500)
    table.facts([40])
    proc.add(40, start_ticks=900, cmdline=b"other\0", environ=b"RANK=3\0")
    one = table.facts([40])[40]
    assert (one.command, one.environ) == (("other",), {"RANK": "3"})
    assert one.started_at == pytest.approx(1700000000 + 900 / TICKS)


def test_a_known_process_costs_one_file(proc: FakeProc, table: ProcessTable, clock: Clock) -> None:
    """Between two looks only stat is read again: a changed command line shows when its time comes."""
    proc.add(40)
    table.facts([40])
    proc.add(40, cmdline=b"renamed\0")
    clock.now_s += 29
    assert table.facts([40])[40].command == ("python", "a.py")
    clock.now_s += 20
    assert table.facts([40])[40].command == ("renamed",)


def test_a_young_process_is_looked_at_often(proc: FakeProc, table: ProcessTable, clock: Clock) -> None:
    """Titles change in a process's first seconds, so a fresh one is read again after one."""
    proc.add(40, start_ticks=int(999.5 * TICKS))
    table.facts([40])
    proc.add(40, start_ticks=int(999.5 * TICKS), cmdline=b"VLLM::Worker_TP0\0")
    clock.now_s += 1.1
    assert table.facts([40])[40].command == ("VLLM::Worker_TP0",)


def test_a_new_short_name_is_followed_at_once(proc: FakeProc, table: ProcessTable) -> None:
    """Setproctitle and exec change the name in stat: no need to wait for the next look."""
    proc.add(40)
    table.facts([40])
    proc.add(40, comm=b"VLLM::Worker_TP", cmdline=b"VLLM::Worker_TP1\0")
    assert table.facts([40])[40].command == ("VLLM::Worker_TP1",)


def test_a_process_stuck_in_the_kernel_is_not_asked_for_its_command(proc: FakeProc, table: ProcessTable) -> None:
    """Reading cmdline of a process in state D can hang; the last known one stays, a first one is read when it wakes."""
    proc.add(40, state=b"D")
    proc.add(41)
    asleep = table.facts([40, 41])
    assert (asleep[40].name, asleep[40].command) == ("python", None)
    proc.add(40)
    proc.add(41, state=b"D", cmdline=b"changed\0")
    awake = table.facts([40, 41])
    assert (awake[40].command, awake[41].command) == (("python", "a.py"), ("python", "a.py"))


def test_the_forgotten_are_forgotten(proc: FakeProc, table: ProcessTable) -> None:
    """The cache holds only who was asked for last: it can't grow with the PIDs of a year."""
    for pid in range(40, 60):
        proc.add(pid)
    table.facts(range(40, 60))
    table.facts([40])
    assert set(table._known) == {40}


@given(st.binary(max_size=400))
def test_no_bytes_break_the_parsers(raw: bytes) -> None:
    """Arbitrary bytes give a reading or a ValueError or IndexError that `facts` turns into absence."""
    with contextlib.suppress(ValueError, IndexError):
        Stat(raw)
    json.encode(arguments(raw))
    json.encode(wanted_variables(raw))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stat=st.binary(max_size=300), cmdline=st.binary(max_size=300), cgroup=st.binary(max_size=100))
def test_no_files_break_the_table(proc: FakeProc, stat: bytes, cmdline: bytes, cgroup: bytes) -> None:
    """Whatever the files hold, the table answers with what JSON can carry."""
    proc.add(40, cmdline=cmdline, environ=cmdline, cgroup=cgroup)
    (proc.root / "40" / "stat").write_bytes(stat)
    proc.add(41, comm=stat[:15], cmdline=cmdline)
    found = ProcessTable(proc.root).facts([40, 41])
    assert 41 in found
    json.encode(found)


@pytest.mark.parametrize(
    ("status", "pid"),
    [
        (b"Name:\tpython\nNSpid:\t4100\t12\t1\nThreads:\t1\n", 1),
        (b"NSpid:\t4100\n", None),
        (b"NSpid:\n", None),
        (b"NSpid:\t4100\tx\n", None),
        (b"", None),
    ],
)
def test_the_innermost_pid(status: bytes, pid: int | None) -> None:
    """The last of several; with a single namespace there is no other PID to tell."""
    assert innermost_pid(status) == pid
