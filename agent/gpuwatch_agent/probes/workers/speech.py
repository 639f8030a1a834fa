"""How a rank speaks to who started it, and that it does not outlive it."""

import ctypes
import json
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_launcher() -> None:
    """Let the kernel kill this rank when torchrun dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    launcher = os.environ.get("GPUWATCH_PROBE_LAUNCHER")
    if launcher is not None and os.getppid() != int(launcher):
        sys.exit("The launcher of this probe is gone.")


def say(event: str, **fields: object) -> None:
    """One event as one line, in one write: lines of several ranks share a pipe and must not mix."""
    os.write(sys.stdout.fileno(), json.dumps({"event": event, **fields}, allow_nan=False).encode() + b"\n")
