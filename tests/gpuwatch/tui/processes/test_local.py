"""What /proc adds: shares of processors, parents, environments without their secrets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gpuwatch.tui.processes.environment import MASK, environment_of, masked
from gpuwatch.tui.processes.local import LocalProcesses, own_facts
from support.real_processes import process_of, worker

_BURNS = """
import sys, time
begun = time.process_time()
while time.process_time() - begun < 0.3:
    pass
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends every process of the test."""
    with ExitStack() as open_things:
        yield open_things


def test_a_share_needs_two_readings_a_while_apart(stack: ExitStack) -> None:
    """The first reading has no share; the next has the processor time in between over the time in between."""
    now = 100.0
    local = LocalProcesses(clock=lambda: now)
    child = subprocess.Popen(
        [sys.executable, "-c", f"input()\n{_BURNS}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.callback(child.communicate)
    assert child.stdin is not None
    assert child.stdout is not None
    assert local.read([child.pid])[child.pid].cpu_pct is None
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "ready\n"
    now += 0.5
    assert local.read([child.pid])[child.pid].cpu_pct is None, "half a second is too short to tell"
    now += 1.5
    share = local.read([child.pid])[child.pid].cpu_pct
    assert share is not None
    assert 14 <= share <= 40
    now += 0.5
    assert local.read([child.pid])[child.pid].cpu_pct == share


def test_parents_memory_and_start_are_told(stack: ExitStack) -> None:
    """This process is the child's parent; who started at another time is somebody else."""
    child = worker(stack)
    facts = LocalProcesses().read([child.pid])
    one = facts[child.pid]
    assert one.ppid == os.getpid()
    assert os.getpid() in facts
    assert one.rss_bytes is not None
    assert one.rss_bytes > 1 << 20
    assert one.started_at is not None
    assert own_facts(facts, child.pid, one.started_at) is one
    assert own_facts(facts, child.pid, one.started_at + 60) is None
    assert own_facts(facts, child.pid, None) is None


def test_who_is_gone_is_not_in_the_answer(stack: ExitStack) -> None:
    """No row of zeros for a process that ended."""
    child = worker(stack)
    child.communicate()
    assert child.pid not in LocalProcesses().read([child.pid])


def test_the_environment_without_its_secrets(stack: ExitStack) -> None:
    """Names in order, secrets as dots, the rest as it is."""
    child = worker(stack, environ={"HF_TOKEN": "hf_x", "CUDA_VISIBLE_DEVICES": "0,1", "PATH": "/bin"})
    process = process_of(child.pid)
    found = environment_of(child.pid, process.started_at, process.user)
    assert found.refusal is None
    told = dict(found.variables)
    assert told["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert told["HF_TOKEN"] == MASK
    assert list(told) == sorted(told)


def test_the_environment_of_a_recycled_pid_is_not_told(stack: ExitStack) -> None:
    """It would be somebody else's."""
    child = worker(stack)
    found = environment_of(child.pid, 5.0, "ann")
    assert found.variables == ()
    assert found.refusal == "The process has ended; its PID belongs to another one now."


_AS_NOBODY = """
import os, sys
from gpuwatch.tui.processes.environment import environment_of
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(environment_of(int(sys.argv[1]), 1.0, "root").refusal)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
def test_an_environment_that_may_not_be_read_says_who_may(stack: ExitStack) -> None:
    """The refusal names who may."""
    child = worker(stack)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(child.pid)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Only root may read its environment."


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
        "DB_PASSWORD",
        "PGPASSWORD",
        "APIKEY",
        "api_key",
        "MY_SECRET",
        "TOKEN2",
        "MYSQL_PWD",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    """What ends in a word for a secret is one."""
    assert masked(name, "value") == MASK


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "KEYBOARD", "PWD", "CUDA_VISIBLE_DEVICES"])
def test_other_names_are_shown(name: str) -> None:
    """A word that only begins like a secret hides nothing."""
    assert masked(name, "value") == "value"


def test_of_an_address_the_password_is_left_out() -> None:
    """Whatever the variable is called."""
    assert masked("DATABASE_URL", "postgres://ann:pw@db:5432/x") == f"postgres://{MASK}@db:5432/x"
    assert masked("PROXY", "http://proxy:3128/") == "http://proxy:3128/"
