"""What /proc says of processes, read with as few system calls as the truth allows.

`facts` answers for the PIDs asked and for their ancestors. A process is known by PID and start time together, so that
a PID the kernel has given to somebody else is never mistaken for the one that had it. What can't be seen (another PID
namespace, hidepid, a PID that is gone) is not in the answer; what may not be read is `None`.
"""

import os
import pwd
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gpuwatch_agent.hardware.base import ProcessFacts

ANCESTOR_LEVELS = 16
COMMAND_BYTES = 16 * 1024
ENVIRON_BYTES = 512 * 1024
CGROUP_BYTES = 64 * 1024
STATUS_BYTES = 16 * 1024
REREAD_S = 30.0
REREAD_YOUNG_S = 1.0
BOOT_S = 10.0

WANTED_VARIABLES = frozenset(
    {
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "SLURM_JOB_ID",
        "SLURM_STEP_ID",
        "SLURM_PROCID",
        "SLURM_NTASKS",
        "CUDA_VISIBLE_DEVICES",
        "LLAMA_ARG_SPLIT_MODE",
    }
)
WANTED_PREFIXES = ("OMPI_COMM_WORLD_", "NCCL_")
"""An allow-list: whatever else an environment holds may be a secret and is dropped while it is read."""


class Stat:
    """The fields of /proc/PID/stat that are used here."""

    __slots__ = ("comm", "cpu_ticks", "ppid", "rss_pages", "session", "start_ticks", "state")

    def __init__(self, text: bytes) -> None:
        # The name may itself hold parentheses, spaces and newlines: the last ")" ends it.
        opening, closing = text.index(b"("), text.rindex(b")")
        self.comm = text[opening + 1 : closing]
        fields = text[closing + 2 :].split(None, 22)
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.session = int(fields[3])
        self.cpu_ticks = int(fields[11]) + int(fields[12])
        self.start_ticks = int(fields[19])
        self.rss_pages = int(fields[21])


class _Known:
    """What is kept of a process between two readings."""

    __slots__ = (
        "born_s",
        "cgroup",
        "comm",
        "command",
        "environ",
        "name",
        "namespace_pid",
        "reread_at",
        "start_ticks",
        "started_at",
        "user",
    )

    def __init__(self, start_ticks: int, started_at: float | None, born_s: float | None) -> None:
        self.start_ticks = start_ticks
        self.started_at = started_at
        self.born_s = born_s
        """When it started, on the table's own clock."""
        self.reread_at = float("-inf")
        self.comm = b""
        self.name = ""
        self.user: str | None = None
        self.command: tuple[str, ...] | None = None
        self.environ: dict[str, str] | None = None
        self.cgroup: str | None = None
        self.namespace_pid: int | None = None


class ProcessTable:
    """Facts about processes, cached by PID and start time."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
        *,
        namespace_pids: bool = False,
    ) -> None:
        """`namespace_pids` costs one more file of each process."""
        self._namespace_pids = namespace_pids
        self._proc = str(proc)
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._users: dict[int, str] = {}
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._boot_read_at: float | None = None
        self._boot_at: float | None = None
        self._booted_s: float | None = None
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def facts(self, pids: Sequence[int]) -> dict[int, ProcessFacts]:
        """What can be seen of these processes and of their ancestors, up to 16 levels."""
        now_s = self._clock()
        found: dict[int, ProcessFacts] = {}
        missing: set[int] = set()
        level: Iterable[int] = dict.fromkeys(pids)
        for _ in range(ANCESTOR_LEVELS + 1):
            parents: dict[int, None] = {}
            for pid in level:
                if pid <= 0 or pid in found or pid in missing:
                    continue
                one = self._one(pid, now_s)
                if one is None:
                    missing.add(pid)
                    continue
                found[pid] = one
                if one.ppid is not None:
                    parents[one.ppid] = None
            level = parents
            if not parents:
                break
        if len(self._known) > len(found):
            self._known = {pid: known for pid, known in self._known.items() if pid in found}
        return found

    def _one(self, pid: int, now_s: float) -> ProcessFacts | None:
        directory = f"{self._proc}/{pid}"
        try:
            stat = Stat(_read_short(f"{directory}/stat"))
        except PermissionError:
            return self._owner_only(pid, directory)
        except (OSError, ValueError, IndexError):
            return None
        known = self._known.get(pid)
        if known is None or known.start_ticks != stat.start_ticks:
            known = self._known[pid] = self._first_sight(stat, now_s)
        # setproctitle and exec change the short name too, so a new one is worth an early look.
        if now_s >= known.reread_at or stat.comm != known.comm:
            self._reread(pid, directory, known, stat, now_s)
        return ProcessFacts(
            pid=pid,
            ppid=stat.ppid,
            session=stat.session,
            user=known.user,
            name=known.name,
            command=known.command,
            environ=known.environ,
            cgroup=known.cgroup,
            started_at=known.started_at,
            cpu_s=stat.cpu_ticks / self._ticks_per_s,
            rss_bytes=stat.rss_pages * self._page_bytes,
            namespace_pid=known.namespace_pid,
        )

    def _first_sight(self, stat: Stat, now_s: float) -> _Known:
        if self._boot_read_at is None or now_s - self._boot_read_at > BOOT_S:
            # Both files cost more than a process does, so a burst of new processes shares one reading of them.
            self._boot_at, self._booted_s = self._boot_time(), self._booted(now_s)
            self._boot_read_at = now_s
        since_boot_s = stat.start_ticks / self._ticks_per_s
        return _Known(
            stat.start_ticks,
            started_at=None if self._boot_at is None else self._boot_at + since_boot_s,
            born_s=None if self._booted_s is None else self._booted_s + since_boot_s,
        )

    def _reread(self, pid: int, directory: str, known: _Known, stat: Stat, now_s: float) -> None:
        if stat.comm != known.comm:
            known.comm = stat.comm
            known.name = text_of(stat.comm)
        if stat.state == b"D":
            # A process stuck in a driver can hold its memory lock: reading its command line would then hang us too.
            return
        try:
            place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            known.user = self._user(os.fstat(place).st_uid)
            command = _read_at(place, "cmdline", COMMAND_BYTES)
            environ = _read_at(place, "environ", ENVIRON_BYTES)
            cgroup = _read_at(place, "cgroup", CGROUP_BYTES)
            status = _read_at(place, "status", STATUS_BYTES) if self._namespace_pids else None
        finally:
            os.close(place)
        known.command = None if command is None else arguments(command)
        # Kernel threads and zombies have no command line; ps shows them in brackets, and so do we.
        known.name = text_of(known.comm) if known.command or command is None else f"[{text_of(known.comm)}]"
        known.environ = None if environ is None else wanted_variables(environ)
        known.cgroup = None if cgroup is None else text_of(cgroup)
        known.namespace_pid = None if status is None else innermost_pid(status)
        known.reread_at = now_s + _reread_after(pid, known, now_s)

    def _owner_only(self, pid: int, directory: str) -> ProcessFacts | None:
        """With hidepid=1 a foreign process shows its owner and nothing else."""
        try:
            return ProcessFacts(pid=pid, user=self._user(os.stat(directory).st_uid))  # noqa: PTH116 - Path costs more than the call
        except OSError:
            return None

    def _user(self, uid: int) -> str:
        user = self._users.get(uid)
        if user is None:
            try:
                user = pwd.getpwuid(uid).pw_name
            except (KeyError, OSError):
                user = str(uid)
            self._users[uid] = user
        return user

    def _boot_time(self) -> float | None:
        try:
            _, _, rest = _read(f"{self._proc}/stat", 4 << 20).partition(b"\nbtime ")
            return float(rest.split(None, 1)[0])
        except (OSError, ValueError, IndexError):
            return None

    def _booted(self, now_s: float) -> float | None:
        """When the machine booted, on the table's own clock."""
        try:
            return now_s - float(_read(f"{self._proc}/uptime", 256).split()[0])
        except (OSError, ValueError, IndexError):
            return None


def _reread_after(pid: int, known: _Known, now_s: float) -> float:
    """Titles settle as a process grows older; the remainder spreads the work of many over several readings."""
    if known.born_s is not None and now_s - known.born_s < REREAD_S:
        return max(REREAD_YOUNG_S, (now_s - known.born_s) / 2)
    return REREAD_S + pid % 16


def text_of(raw: bytes) -> str:
    """Bytes as text that is valid UTF-8 again: what is not shows as a backslash escape."""
    return raw.decode("utf-8", "backslashreplace")


def arguments(raw: bytes) -> tuple[str, ...]:
    """The arguments of a command line; a title written over it leaves padding behind, which is dropped."""
    raw = raw.rstrip(b"\0")
    return tuple(text_of(raw).split("\0")) if raw.strip() else ()


def innermost_pid(status: bytes) -> int | None:
    """The PID in the innermost namespace, from /proc/PID/status; `None` where there is only one."""
    for line in status.split(b"\n"):
        if line.startswith(b"NSpid:"):
            pids = line.split()[1:]
            return int(pids[-1]) if len(pids) > 1 and pids[-1].isdigit() else None
    return None


def wanted_variables(raw: bytes) -> dict[str, str]:
    """The variables attribution asks for, and no others."""
    wanted: dict[str, str] = {}
    for entry in raw.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        key = name.decode("ascii", "replace")
        if equals and (key in WANTED_VARIABLES or key.startswith(WANTED_PREFIXES)):
            wanted.setdefault(key, text_of(value))
    return wanted


def _read_short(path: str) -> bytes:
    """The one read that every process costs every time; the fields used here end long before its limit."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1024)
    finally:
        os.close(descriptor)


def _read(path: str, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _drain(descriptor, limit)
    finally:
        os.close(descriptor)


def _read_at(directory: int, name: str, limit: int) -> bytes | None:
    """A file of the process this directory was opened for, even if its PID has been given away since."""
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
        try:
            return _drain(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _drain(descriptor: int, limit: int) -> bytes:
    """All there is up to the limit: /proc may answer in pages."""
    chunk = os.read(descriptor, min(limit, 16384))
    # A short answer of a small file is its end; asking again only to hear so would double the cost.
    if len(chunk) < 4000:
        return chunk
    chunks, total = [chunk], len(chunk)
    while chunk and total < limit:
        chunk = os.read(descriptor, min(limit - total, 65536))
        chunks.append(chunk)
        total += len(chunk)
    return b"".join(chunks)
