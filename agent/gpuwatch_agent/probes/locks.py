"""One probe at a time on a GPU: a locked file for each, which the kernel unlocks when its holder dies."""

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gpuwatch_agent.model.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who measures now."""

    pid: int
    kind: str


@contextmanager
def holding(directory: Path, names: Sequence[str], kind: str) -> "Iterator[None]":
    """Hold all of these for one probe, or say who has one of them."""
    folder = directory / "locks"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(names):
                held.enter_context(_one(folder / f"{name}.lock", name, kind))
        except OSError as error:
            raise ProbeError(
                f"The folder {folder} for the probes' locks can't be used: {(error.strerror or str(error)).lower()}.",
                "Set probes.directory to one that this user may write to.",
            ) from error
        yield


@contextmanager
def _one(path: Path, name: str, kind: str) -> "Iterator[None]":
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(path, name) from None
        file.truncate(0)
        file.write(msgspec.json.encode(Holder(pid=os.getpid(), kind=kind)))
        file.flush()
        yield


def _taken(path: Path, name: str) -> ProbeError:
    what = "the processor" if name == "cpu" else f"the GPU {name}"
    try:
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
        who = f"`probe {holder.kind}` of process {holder.pid}"
    except (OSError, msgspec.DecodeError):
        who = "another probe"  # it has only just begun
    return ProbeError(f"{who[:1].upper()}{who[1:]} is measuring {what} just now.", "Wait until it is done.")
