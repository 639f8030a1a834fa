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
_IN_SHARED_MEMORY = re.compile(r" /dev/shm/([^/\n]+?)(?: \(deleted\))?$", re.MULTILINE)


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


def shared_memory_of(run: str, proc: Path = Path("/proc")) -> set[str]:
    """The names in shared memory that processes of that run hold now."""
    maps = "".join(_maps(proc / str(pid)) for pid in processes_of(run, proc))
    return set(_IN_SHARED_MEMORY.findall(maps))


def remove_shared_memory(held: AbstractSet[str], proc: Path = Path("/proc")) -> list[str]:
    """Remove what was seen in ranks' hands, belongs to this user and is in nobody's hands now; gives the names.

    Nothing else is touched, however much its name looks like ours: another job's ranks may have it.
    """
    left = [name for name in sorted(held) if (_SHARED_MEMORY / name).exists()]
    in_use = _mapped(proc) if left else ""
    removed = []
    for name in left:
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
    return "".join(_maps(entry) for entry in proc.iterdir() if entry.name.isdecimal())


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text(errors="replace")
    except OSError:
        return ""  # gone, or another user's
