"""Becomes the program it is given, which then dies with whoever started it: `python launch.py PARENT_PID PROGRAM ARG…`.

Started as a plain file, so that nothing of ours is imported. What the kernel is told here outlives the exec.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("The program that started this probe is gone.")  # it died before the kernel was told
    # The exec keeps the PID: by it a rank knows which parent it must not outlive.
    os.environ["GPUWATCH_PROBE_LAUNCHER"] = str(os.getpid())
    os.execv(program[0], program)  # noqa: S606  # an argument list of our own, no shell


if __name__ == "__main__":
    main()
