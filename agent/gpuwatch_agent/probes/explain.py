"""From what a probe's ranks left on their standard error to a sentence."""

import re
from collections.abc import Sequence

from gpuwatch_agent.probes.child import ChildEnd
from gpuwatch_agent.probes.result import Problem

_INSTALL = "Install a build with it: pytorch.org/get-started names the command for this driver."
REFUSALS = {
    "no_cuda_build": (
        "The installed torch is built without CUDA.",
        f"{_INSTALL} --cpu measures the processor instead.",
    ),
    "no_cuda": (
        "torch finds no usable GPU, though the driver shows some.",
        "`python -c 'import torch; torch.cuda.init()'` says why; often torch is too new for the driver.",
    ),
    "no_nccl": ("The installed torch has no NCCL.", _INSTALL),
    "no_gloo": ("The installed torch has no gloo.", "Install the build of torch from PyPI."),
    "no_distributed": ("The installed torch can't run several ranks.", "Install the build of torch from PyPI."),
}

_FIRST_LOSS = re.compile(r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", re.DOTALL)
# The first that matches tells most.
_SIGNS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"No module named '?torch|torch\.distributed\.run: No module",
        "torch_missing",
        "Probes run on torch, which can't be imported here.",
        "Install it with `pip install 'gpuwatch-node[probes]'`.",
    ),
    (
        r"/dev/shm|No space left on device|Bus error|shm_open",  # noqa: S108  # what NCCL says
        "shared_memory",
        "The ranks ran out of shared memory.",
        "/dev/shm is too small: in a container start it with --shm-size=1g or --ipc=host.",  # noqa: S108  # its name
    ),
    (
        r"out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory",
        "out_of_memory",
        "Memory did not suffice.",
        "Ask for smaller messages with --sizes, or free memory first (`gpuwatch status` shows who holds it).",
    ),
    (
        r"EADDRINUSE|[Aa]ddress already in use",
        "port_taken",
        "A port that the ranks meet on was taken by another program.",
        "Run it again: another port is chosen each time.",
    ),
    (
        r"Duplicate GPU detected",
        "duplicate_gpu",
        "Two ranks were given the same GPU.",
        "Look for a CUDA_VISIBLE_DEVICES or a wrapper that changes it.",
    ),
    (
        r"CUDA error|CUDA driver error|fell off the bus|device-side assert|uncorrectable ECC|unspecified launch failure",
        "gpu_failed",
        "A GPU failed while it was measured.",
        "`gpuwatch check` and `dmesg | grep -i xid` may name it.",
    ),
)


HANG = Problem(
    kind="hang",
    message="The ranks hung: none said anything for too long.",
    action="`gpuwatch check` and `dmesg | grep -i xid` may name a GPU or link.",
)


def too_late(deadline_s: float) -> Problem:
    """The deadline has passed."""
    return Problem(
        kind="deadline",
        message=f"Not done within {deadline_s:g} s.",
        action="Give it longer with --deadline, or less to do with --quick or --sizes.",
    )


def out_of_memory(what: str) -> Problem:
    """A rank said so itself, and how far it had come."""
    return Problem(
        kind="out_of_memory",
        message=f"Memory did not suffice for {what}.",
        action="Ask for less, or free memory first.",
    )


def survivors_note(pids: Sequence[int]) -> str:
    """What nobody can kill has to be told."""
    return f"Processes that can't be killed, because they hang in the driver: {', '.join(map(str, pids))}."


def refusal(reason: str) -> Problem:
    """Why this torch can't do it."""
    message, action = REFUSALS.get(reason, (f"The ranks refused: {reason}.", ""))
    return Problem(kind=reason, message=message, action=action)


def explain(end: ChildEnd) -> Problem:
    """Why a program that ended by itself did not end well."""
    # What torchrun says of itself comes last and repeats the failure in its own words.
    for sign, kind, message, action in _SIGNS:
        if re.search(sign, end.stderr):
            return Problem(kind=kind, message=message, action=action)
    loss = _FIRST_LOSS.search(end.stderr)
    if loss is not None:
        rank, status = int(loss[1]), int(loss[2])
        if status == -9:
            return Problem(
                kind="rank_killed",
                message=f"Rank {rank} was killed from outside.",
                action="Often the kernel's out-of-memory killer (`dmesg | grep -i oom` tells), or somebody's kill -9.",
            )
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return Problem(
            kind="rank_crashed", message=f"Rank {rank} ended {how}{_last_words(end.stderr)}", action=_WHERE_THE_REST_IS
        )
    how = f"with status {end.exit_status}" if end.exit_status is not None else "before their time"
    return Problem(kind="crashed", message=f"The ranks ended {how}{_last_words(end.stderr)}", action=_WHERE_THE_REST_IS)


_WHERE_THE_REST_IS = "All they wrote last is under `stderr` in the result's JSON."


def _last_words(stderr: str) -> str:
    """The line that names the error of a Python program, as the end of a sentence."""
    lines = (re.sub(r"^\[rank\d+\]:\s*", "", line.strip()) for line in stderr.splitlines())
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b\s*:", line) and "ChildFailed" not in line]
    return f": {errors[0].rstrip('.')}." if errors else "."
