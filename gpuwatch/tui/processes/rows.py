"""Jobs as rows of a list: flat, in groups with sums, or as a tree of parents and children."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from gpuwatch.render.job_cells import Job, job_of, scheduler_words
from gpuwatch.render.text import clean
from gpuwatch.render.units import gib, whole
from gpuwatch.tui.processes.local import Facts, own_facts
from gpuwatch_agent.model.process import Process

Grouping = Literal["", "gpu", "user", "job"]
GROUPINGS: Sequence[Grouping] = ("", "gpu", "user", "job")
_DEEPEST = 32


class Row(Struct, frozen=True, kw_only=True):
    """One line: a process, or the head of a group (then without a job)."""

    key: str
    job: Job | None = None
    members: tuple[str, ...] = ()
    """The processes it stands for: its own, or the group's."""
    title: str = ""
    sums: str = ""
    prefix: str = ""
    """The branches of the tree before its name."""
    parent: bool = False
    """A process that holds no GPU itself, shown for its children."""


def job_key(job: Job) -> str:
    """A process, not merely its PID: who gets the same PID later is another one."""
    return f"{job.process.pid}.{int(job.process.started_at or 0)}"


def process_of_key(key: str) -> str:
    """The process a row's key is about, wherever the row stands."""
    return key.partition("@")[0]


def flat(jobs: Sequence[Job]) -> list[Row]:
    """One row a process."""
    return [_row(job) for job in jobs]


def _row(job: Job, *, at: str = "", prefix: str = "", parent: bool = False) -> Row:
    key = job_key(job)
    return Row(key=f"{key}@{at}" if at else key, job=job, members=(key,), prefix=prefix, parent=parent)


def by_gpu(jobs: Sequence[Job]) -> list[Row]:
    """Each GPU with who is on it; who is on several is told on each with its part of it."""
    there: dict[str, list[Job]] = {}
    indices: dict[str, int] = {}
    for job in jobs:
        parts: dict[str, list[int]] = {}
        for position, part in enumerate(job.parts):
            parts.setdefault(part.gpu.uuid, []).append(position)
            indices[part.gpu.uuid] = part.gpu.index
        for uuid, positions in parts.items():
            there.setdefault(uuid, []).append(job_of([job.parts[position] for position in positions]))
    rows: list[Row] = []
    for uuid in sorted(there, key=lambda uuid: indices[uuid]):
        shares = [job.sm_pct for job in there[uuid] if job.sm_pct is not None]
        busy = f" · SM {whole(min(sum(shares), 100.0))} %" if shares else ""
        rows.append(_head(f"GPU {indices[uuid]}", uuid, there[uuid], busy))
        rows += [_row(job, at=uuid) for job in there[uuid]]
    return rows


def by_user(jobs: Sequence[Job]) -> list[Row]:
    """Each user with what they run."""
    return _grouped(jobs, lambda job: clean(job.process.user) if job.process.user else "user not known")


def by_job(jobs: Sequence[Job]) -> list[Row]:
    """Each pod, Slurm job, container or inferred group with its processes."""
    return _grouped(jobs, job_words)


def job_words(job: Job) -> str:
    """What the process belongs to: to a scheduler, else to a group of ranks."""
    words = scheduler_words(job.process)
    group = job.process.tp_group
    name = clean(group.rpartition("@")[0] or group) if group else ""
    return " · ".join(filter(None, (words, name))) or "no job known"


def _grouped(jobs: Sequence[Job], told: Callable[[Job], str]) -> list[Row]:
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(told(job), []).append(job)
    rows: list[Row] = []
    for words, members in groups.items():
        gpus = {index for job in members for index in job.gpus}
        rows.append(_head(words, words, members, f" · {len(gpus)} GPU{'s' if len(gpus) != 1 else ''}"))
        rows += flat(members)
    return rows


def _head(title: str, key: str, jobs: Sequence[Job], more: str) -> Row:
    memory = [job.memory_bytes for job in jobs if job.memory_bytes is not None]
    held = f" · {gib(sum(memory))} GiB" if memory else ""
    count = f"{len(jobs):,} process{'es' if len(jobs) != 1 else ''}"
    return Row(key=f"head:{key}", members=tuple(map(job_key, jobs)), title=title, sums=f"{count}{more}{held}")


def tree(jobs: Sequence[Job], facts: Mapping[int, Facts]) -> list[Row]:
    """Under their parents as far as /proc tells them; where it tells of nobody, under their job."""
    if not facts:
        return _branches_of_jobs(jobs)
    forest = _Forest(jobs, facts)
    return forest.rows()


def _branches_of_jobs(jobs: Sequence[Job]) -> list[Row]:
    rows: list[Row] = []
    grouped = by_job(jobs)
    for position, row in enumerate(grouped):
        if row.job is None:
            rows.append(row)
            continue
        last = position + 1 == len(grouped) or grouped[position + 1].job is None
        rows.append(_row(row.job, prefix="└─ " if last else "├─ "))
    return rows


class _Forest:
    """Parents and children; of a line of parents only those are kept that fork or that stand right above a process."""

    def __init__(self, jobs: Sequence[Job], facts: Mapping[int, Facts]) -> None:
        self._jobs = {job.process.pid: job for job in jobs}
        self._facts = facts
        self._children: dict[int, list[int]] = {}
        self._roots: list[int] = []
        for pid in self._jobs:
            self._hang(pid)

    def _parent(self, pid: int) -> int | None:
        job, one = self._jobs.get(pid), self._facts.get(pid)
        if one is None or (job is not None and own_facts(self._facts, pid, job.process.started_at) is None):
            return None
        ppid = one.ppid
        known = ppid is not None and ppid > 1 and (ppid in self._facts or ppid in self._jobs)
        return ppid if known else None

    def _hang(self, pid: int) -> None:
        for _ in range(_DEEPEST):
            parent = self._parent(pid)
            siblings = self._roots if parent is None else self._children.setdefault(parent, [])
            if pid in siblings:
                return
            siblings.append(pid)
            if parent is None:
                return
            pid = parent

    def rows(self) -> list[Row]:
        """From the roots down, in the order in which the processes were given."""
        rows: list[Row] = []
        for root in self._roots:
            self._grow(self._kept(root), "", "", rows, 0)
        return rows

    def _kept(self, pid: int) -> int:
        """The first below that is worth a line."""
        for _ in range(_DEEPEST):
            children = self._children.get(pid, [])
            if pid in self._jobs or len(children) != 1 or children[0] in self._jobs:
                return pid
            pid = children[0]
        return pid

    def _grow(self, pid: int, prefix: str, below: str, rows: list[Row], depth: int) -> None:
        job = self._jobs.get(pid)
        rows.append(_row(job or self._stranger(pid), prefix=prefix, parent=job is None))
        if depth >= _DEEPEST:
            return
        children = self._children.get(pid, [])
        for position, child in enumerate(children):
            last = position + 1 == len(children)
            branch, under = ("└─ ", "   ") if last else ("├─ ", "│  ")
            self._grow(self._kept(child), below + branch, below + under, rows, depth + 1)

    def _stranger(self, pid: int) -> Job:
        """A parent that holds no GPU, as far as /proc tells."""
        one = self._facts[pid]
        process = Process(pid=pid, user=one.user, name=one.name, command=one.command, started_at=one.started_at)
        return Job(process=process, gpus=[], memory_bytes=None, sm_pct=None)
