"""Signals reach who was looked at, and nobody else; what became of them is told in words."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from msgspec import structs

from gpuwatch.render.job_cells import jobs_of
from gpuwatch.tui.dialogs.signal_confirm import ranks_note, sentence
from gpuwatch.tui.moment import FeedKind, FeedState, Moment
from gpuwatch.tui.processes.signals import Outcome, Target, send, target_of, why_no_signals
from gpuwatch_agent.history import History
from gpuwatch_agent.model.process import Process
from support.real_processes import frame_with, process_of, worker


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends every process of the test."""
    with ExitStack() as open_things:
        yield open_things


def _target(process: Process) -> Target:
    return target_of(jobs_of(frame_with([[process]], 0.0))[0])


def test_delivered_to_a_process_that_lives(stack: ExitStack) -> None:
    """The signal arrives and ends it."""
    child = worker(stack)
    outcome = send(_target(process_of(child.pid)), signal.SIGTERM)
    assert outcome.word == "delivered"
    assert child.wait() == -signal.SIGTERM


def test_gone_when_it_ended_before(stack: ExitStack) -> None:
    """Nobody has the PID any more."""
    child = worker(stack)
    target = _target(process_of(child.pid))
    child.communicate()
    assert send(target, signal.SIGKILL).word == "gone"


def test_a_process_that_has_ended_and_waits_for_its_parent_is_gone(stack: ExitStack) -> None:
    """A zombie takes signals without a word; that is not delivery."""
    child = worker(stack)
    target = _target(process_of(child.pid))
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    outcome = send(target, signal.SIGTERM)
    assert (outcome.word, outcome.told) == ("gone", "it has ended and waits for its parent to notice")


def test_a_recycled_pid_is_left_alone(stack: ExitStack) -> None:
    """Who has the PID now started at another time, and lives on."""
    child = worker(stack)
    process = process_of(child.pid)
    assert process.started_at is not None
    outcome = send(_target(structs.replace(process, started_at=process.started_at - 60)), signal.SIGKILL)
    assert outcome.word == "gone"
    assert "now belongs to another process, which was left alone" in outcome.told
    assert child.poll() is None


def test_without_a_start_time_nothing_is_sent(stack: ExitStack) -> None:
    """A PID alone is no proof of who it is."""
    child = worker(stack)
    outcome = send(_target(structs.replace(process_of(child.pid), started_at=None)), signal.SIGKILL)
    assert outcome.word == "refused"
    assert child.poll() is None


def test_what_is_not_visible_and_the_dashboard_itself_are_refused() -> None:
    """Neither a PID of another namespace nor this very process gets a signal."""
    hidden = Target(pid=4242, started_at=1.0, name="x", user=None, visible=False)
    assert send(hidden, signal.SIGKILL).word == "refused"
    assert send(_target(process_of(os.getpid())), signal.SIGKILL).word == "refused"
    assert send(Target(pid=1, started_at=1.0, name="init", user="root"), signal.SIGKILL).word == "refused"


_AS_NOBODY = """
import os, sys
from signal import SIGKILL
from gpuwatch.tui.processes.signals import Target, send
os.setgroups([]); os.setgid(65534); os.setuid(65534)
outcome = send(Target(pid=int(sys.argv[1]), started_at=float(sys.argv[2]), name="x", user="root"), SIGKILL)
print(outcome.word, "|", outcome.told)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
def test_denied_by_the_kernel_is_said_with_who_may(stack: ExitStack) -> None:
    """Nobody may not end root's process, and is told whose it is."""
    child = worker(stack)
    process = process_of(child.pid)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(child.pid), str(process.started_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "denied | it belongs to root: that needs root"
    assert child.poll() is None


def _moment(kind: FeedKind = "embedded", *, simulated: bool = False, paused: bool = False) -> Moment:
    frame = structs.replace(frame_with([], 10.0), simulated=simulated)
    return Moment(
        frame=frame,
        history=History(),
        feed=FeedState(kind=kind, where="http://node07:9489"),
        now=10.0,
        newest_at=10.0,
        oldest_at=0.0,
        paused=paused,
    )


def test_where_no_signal_can_go_the_reason_is_said() -> None:
    """Each kind of feed that holds no living processes of this machine has its own sentence."""
    assert why_no_signals(_moment(), False) is None
    reasons = [
        why_no_signals(_moment(), True),
        why_no_signals(_moment(simulated=True), False),
        why_no_signals(_moment("remote"), False),
        why_no_signals(_moment("recording"), False),
        why_no_signals(_moment(paused=True), False),
    ]
    for reason, word in zip(reasons, ["read-only", "simulated", "run on node07", "recording", "past"], strict=True):
        assert reason is not None
        assert word in reason


def test_outcomes_in_one_sentence() -> None:
    """One process gets its word, several are counted."""
    target = Target(pid=1, started_at=1.0, name="x", user=None)
    outcomes = [Outcome(target, "delivered", ""), Outcome(target, "denied", ""), Outcome(target, "delivered", "")]
    assert sentence(outcomes[:1], signal.SIGTERM) == "SIGTERM: delivered"
    assert sentence(outcomes, signal.SIGINT) == "SIGINT: 2 delivered, 1 denied"


def test_a_rank_without_its_siblings_is_a_warning() -> None:
    """One rank of four takes the others with it; all four need no such word."""
    ranks = [Target(pid=9 + rank, started_at=1.0, name="x", user=None, rank=rank, ranks=4) for rank in range(4)]
    assert ranks_note(ranks[1:2]) == "Rank 1 of 4: the other ranks will wait for it, or end with it."
    assert ranks_note(ranks) == ""
    assert ranks_note([Target(pid=3, started_at=1.0, name="x", user=None)]) == ""
