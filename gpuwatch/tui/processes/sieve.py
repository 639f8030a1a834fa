"""The words of the filter line: what is typed becomes a question that every process answers with yes or no."""

from collections.abc import Callable

from msgspec import Struct

from gpuwatch.render.job_cells import Job
from gpuwatch.render.text import clean

_Question = Callable[[Job], bool]


class Sieve(Struct, frozen=True):
    """What is asked for; all questions must be answered with yes."""

    text: str = ""
    questions: tuple[_Question, ...] = ()
    mistake: str | None = None
    """What can't be understood in it, in words; the rest of it holds."""

    def passes(self, job: Job) -> bool:
        """Whether the process is among those asked for."""
        return all(question(job) for question in self.questions)


def sieve_of(text: str) -> Sieve:
    """`word`, `user:ann`, `gpu:0-3,5`, `job:chat`, `pid:412`, `rank:3`; `!` in front turns one around."""
    questions: list[_Question] = []
    mistake: str | None = None
    for term in text.split():
        turned = term.startswith("!")
        try:
            question = _question(term[1:] if turned else term)
        except ValueError as error:
            mistake = str(error)
            continue
        if question is not None:
            questions.append(_not(question) if turned else question)
    return Sieve(" ".join(text.split()), tuple(questions), mistake)


def _not(question: _Question) -> _Question:
    return lambda job: not question(job)


def _question(term: str) -> _Question | None:
    key, colon, value = term.partition(":")
    make = _KEYS.get(key.lower()) if colon else None
    if make is not None:
        # A key without a value is somebody who is still typing.
        return make(value.lower()) if value else None
    word = term.lower()
    return (lambda job: any(word in told for told in _told(job))) if word else None


def _user(value: str) -> _Question:
    return lambda job: (job.process.user or "").lower().startswith(value)


def _gpu(value: str) -> _Question:
    wanted = _indices(value)
    return lambda job: not wanted.isdisjoint(job.gpus)


def _pid(value: str) -> _Question:
    if not value.isdecimal():
        raise ValueError("pid: wants the first digits of a PID, as pid:412")
    return lambda job: str(job.process.pid).startswith(value)


def _rank(value: str) -> _Question:
    wanted = _indices(value.removeprefix("tp"))
    return lambda job: job.process.tp_rank in wanted


def _job(value: str) -> _Question:
    return lambda job: any(value in told for told in _jobs_told(job))


_KEYS: dict[str, Callable[[str], _Question]] = {"user": _user, "gpu": _gpu, "pid": _pid, "job": _job, "rank": _rank}


def _indices(value: str) -> set[int]:
    """`0-3,5` as numbers; a range that is still being typed counts as far as it is there."""
    wanted: set[int] = set()
    for part in filter(None, value.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or len(part) > 9:
            raise ValueError("gpu: and rank: want numbers, as gpu:3 or gpu:0-3,5")
        wanted.update(range(int(first), min(int(last or first), int(first) + 1024) + 1) if dash else [int(first)])
    return wanted


def _jobs_told(job: Job) -> list[str]:
    process = job.process
    slurm = f"slurm {process.slurm_job}" if process.slurm_job else None
    pod = f"pod {process.pod}" if process.pod else None
    container = f"container {process.container}" if process.container else None
    return [told.lower() for told in (slurm, pod, container, process.tp_group) if told]


def _told(job: Job) -> list[str]:
    process = job.process
    rank = f"tp{process.tp_rank}" if process.tp_rank is not None else None
    words = [str(process.pid), process.user, process.name, process.command, rank]
    return [*(clean(word).lower() for word in words if word), *_jobs_told(job)]
