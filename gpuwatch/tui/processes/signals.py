"""Signals to processes that were looked at: never to another process that has got the same PID since."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from gpuwatch.render.job_cells import Job, command_words
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.processes.local import same_process
from gpuwatch_agent.attribution.procfs import ProcessTable, Stat

Word = Literal["delivered", "denied", "gone", "refused"]
SIGNALS: Sequence[tuple[signal.Signals, str]] = (
    (signal.SIGTERM, "asks it to end and to clean up; the one to begin with"),
    (signal.SIGINT, "what Ctrl-C sends: many trainers save and end"),
    (signal.SIGHUP, "its terminal is gone; some servers read their settings anew"),
    (signal.SIGKILL, "ends it at once, with nothing saved; its ranks' partners may hang"),
    (signal.SIGSTOP, "halts it where it is; it keeps its GPU memory"),
    (signal.SIGCONT, "lets it go on after STOP"),
    (signal.SIGQUIT, "ends it with a core dump, if it lets it"),
    (signal.SIGUSR1, "whatever the program makes of it; Slurm jobs often save"),
    (signal.SIGUSR2, "whatever the program makes of it"),
)


_ENDED = "it had ended before"


class Target(Struct, frozen=True, kw_only=True):
    """A process as it was seen when it was chosen."""

    pid: int
    started_at: float | None
    name: str
    user: str | None
    gpus: tuple[int, ...] = ()
    visible: bool = True
    rank: int | None = None
    ranks: int | None = None


class Outcome(Struct, frozen=True):
    """What became of one signal."""

    target: Target
    word: Word
    told: str


def target_of(job: Job) -> Target:
    """The process of a row."""
    process = job.process
    return Target(
        pid=process.pid,
        started_at=process.started_at,
        name=command_words(process) or "?",
        user=process.user,
        gpus=tuple(job.gpus),
        visible=process.visible,
        rank=process.tp_rank,
        ranks=process.tp_size,
    )


def why_no_signals(moment: Moment, read_only: bool) -> str | None:
    """Why nothing of what is shown can be signalled from here; None where it can."""
    if read_only:
        return "This dashboard is read-only: it sends no signals."
    if moment.frame.simulated:
        return "These processes are simulated: there is nobody to signal."
    if moment.feed.kind == "remote":
        return f"These processes run on {moment.frame.node}: signals are sent on the machine itself."
    if moment.feed.kind == "recording":
        return "This is a recording: its processes are not here."
    if moment.paused:
        return "This is the past: press End to come back to now, then signal."
    return None


def send(target: Target, number: signal.Signals, *, proc: Path = Path("/proc")) -> Outcome:
    """One signal to one process, held by a file descriptor while its start time is compared."""
    if not target.visible:
        return Outcome(target, "refused", "not visible from here: it can't be signalled from this PID namespace")
    if target.pid <= 1 or target.pid == os.getpid():
        return Outcome(target, "refused", "it is what keeps you here")
    try:
        held = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return Outcome(target, "gone", _ENDED)
    except OSError as error:
        return Outcome(target, "refused", f"the kernel gives no safe hold on it ({error.strerror})")
    try:
        return _another(target, proc) or _sent(target, held, number)
    finally:
        os.close(held)


def _sent(target: Target, held: int, number: signal.Signals) -> Outcome:
    try:
        signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return Outcome(target, "gone", _ENDED)
    except PermissionError:
        owner = f"it belongs to {target.user}" if target.user else "it belongs to somebody else"
        return Outcome(target, "denied", f"{owner}: that needs root")
    return Outcome(target, "delivered", f"{number.name} was sent")


def _another(target: Target, proc: Path) -> Outcome | None:
    """Whether who has the PID now is not who was looked at."""
    now = ProcessTable(proc).facts([target.pid]).get(target.pid)
    if now is None or now.started_at is None or target.started_at is None:
        return Outcome(target, "refused", "its start time can't be read, so it can't be told from another process")
    if not same_process(now.started_at, target.started_at):
        return Outcome(
            target,
            "gone",
            f"it had ended before; PID {target.pid} now belongs to another process, which was left alone",
        )
    try:
        if Stat((proc / str(target.pid) / "stat").read_bytes()).state == b"Z":
            return Outcome(target, "gone", "it has ended and waits for its parent to notice")
    except (OSError, ValueError, IndexError):
        return Outcome(target, "gone", _ENDED)
    return None
