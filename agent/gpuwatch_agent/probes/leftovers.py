"""What a probe may leave behind, and finding it: processes by a mark in their environment, shared memory by its name.

What nobody could clear away, because gpuwatch itself was killed, goes with a later run.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Set as AbstractSet
from pathlib import Path

MARK = "GPUWATCH_PROBE_RUN"
SCRATCH = "gpuwatch-probe-"
# Longer than any probe may take.
_FORGOTTEN_S = 2 * 86400.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where NCCL and torch put theirs
_OURS = re.compile(r"nccl-|torch_|gloo|sem\.(mp|loky)-|psm_")


def processes_of(run: str, proc: Path = Path("/proc")) -> set[int]:
    """Every living process that was started for that run, whoever its parent is now."""
    mark = f"{MARK}={run}".encode()
    found = set()
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
            except OSError:
                continue  # gone, or another user's: ours are always to be read
    return found


def remove_forgotten_scratch(now: float) -> None:
    """Remove this user's folders of runs that ended with a SIGKILL days ago."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        try:
            about = folder.lstat()
        except OSError:
            continue  # somebody else was quicker
        if about.st_uid == os.getuid() and now - about.st_mtime > _FORGOTTEN_S:
            shutil.rmtree(folder, ignore_errors=True)


def shared_memory() -> frozenset[str]:
    """The names of what lies in shared memory and could come from a rank."""
    try:
        return frozenset(path.name for path in _SHARED_MEMORY.iterdir() if _OURS.match(path.name))
    except OSError:
        return frozenset()


def remove_shared_memory(before: AbstractSet[str], proc: Path = Path("/proc")) -> list[str]:
    """Remove what is new, belongs to this user and is open nowhere; gives the names."""
    new = shared_memory() - before
    if not new:
        return []
    in_use = _mapped(proc)
    removed = []
    for name in sorted(new):
        path = _SHARED_MEMORY / name
        try:
            if str(path) not in in_use and path.stat().st_uid == os.getuid():
                path.unlink()
                removed.append(name)
        except OSError:
            continue  # somebody else was quicker
    return removed


def _mapped(proc: Path) -> str:
    """The memory maps of all processes that this user may look into, as one text."""
    maps = []
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            try:
                maps.append((entry / "maps").read_text(errors="replace"))
            except OSError:
                continue
    return "".join(maps)
