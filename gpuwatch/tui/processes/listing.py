"""Which processes are listed and in what arrangement, and which of them are tagged: all that keys change."""

from collections.abc import Mapping, Sequence

from gpuwatch.render.job_cells import Job, jobs_of
from gpuwatch.tui.processes.local import Facts
from gpuwatch.tui.processes.order import BY_NAME, ORDERS, ordered
from gpuwatch.tui.processes.rows import GROUPINGS, Grouping, Row, by_gpu, by_job, by_user, flat, job_key, tree
from gpuwatch.tui.processes.sieve import Sieve, sieve_of
from gpuwatch.tui.processes.signals import Outcome, Target, target_of
from gpuwatch_agent.model.frame import Frame


class Listing:
    """Tags are held by process, so that they survive every other order, filter and arrangement."""

    def __init__(self) -> None:
        self.sieve = Sieve()
        self.order = ORDERS[0]
        self.turned = False
        self.grouping: Grouping = ""
        self.as_tree = False
        self.only_user: str | None = None
        self.tagged: dict[str, Target] = {}
        self.jobs: list[Job] = []
        """All processes of the frame, whether asked for or not."""
        self._frame: Frame | None = None

    def rows(self, frame: Frame, facts: Mapping[int, Facts]) -> list[Row]:
        """What is asked for, arranged."""
        if self._frame is not frame:
            self.jobs, self._frame = jobs_of(frame), frame
        asked = ordered([job for job in self.jobs if self._is_asked_for(job)], self.order, self.turned, facts)
        if self.as_tree:
            return tree(asked, facts)
        return {"gpu": by_gpu, "user": by_user, "job": by_job}.get(self.grouping, flat)(asked)

    def _is_asked_for(self, job: Job) -> bool:
        return (self.only_user is None or job.process.user == self.only_user) and self.sieve.passes(job)

    @property
    def arranged(self) -> str:
        """How, as a word."""
        return "tree" if self.as_tree else self.grouping

    @property
    def needs_everyone(self) -> bool:
        """Whether /proc has to be asked about processes that are off the screen, too."""
        return self.as_tree or self.order.local

    def filter_by(self, text: str) -> None:
        """Show what this asks for."""
        self.sieve = sieve_of(text)

    def show_all(self) -> bool:
        """No filter and no user any more; False where there was none."""
        had = bool(self.sieve.text) or self.only_user is not None
        self.sieve, self.only_user = Sieve(), None
        return had

    def sort_by(self, name: str) -> None:
        """By that column; by the same once more turns it around."""
        self.turned = not self.turned if self.order.name == name else False
        self.order = BY_NAME[name]

    def turn_tree(self) -> None:
        """Under their parents, or not."""
        self.as_tree, self.grouping = not self.as_tree, ""

    def next_grouping(self) -> None:
        """By GPU, by user, by job, and not at all."""
        self.as_tree = False
        self.grouping = GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)]

    def next_user(self) -> None:
        """Only one user's, one after the other, then everybody's."""
        users = sorted({job.process.user for job in self.jobs if job.process.user})
        later = [user for user in users if self.only_user is None or user > self.only_user]
        self.only_user = later[0] if later else None

    def targets_of(self, row: Row) -> dict[str, Target]:
        """The processes a row stands for."""
        if row.parent and row.job is not None:
            return {job_key(row.job): target_of(row.job)}
        members = set(row.members)
        return {job_key(job): target_of(job) for job in self.jobs if job_key(job) in members}

    def tag(self, row: Row) -> None:
        """Tag what the row stands for; where all of it is tagged already, untag it."""
        if all(key in self.tagged for key in row.members):
            for key in row.members:
                del self.tagged[key]
        else:
            self.tagged.update(self.targets_of(row))

    def chosen_targets(self, row: Row | None) -> Sequence[Target]:
        """What a signal would go to: all that is tagged, else the row."""
        if self.tagged:
            return list(self.tagged.values())
        return list(self.targets_of(row).values()) if row is not None else []

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Who got a signal is done with; who did not stays tagged."""
        done = [outcome.target for outcome in outcomes if outcome.word in {"delivered", "gone"}]
        self.tagged = {key: target for key, target in self.tagged.items() if target not in done}
