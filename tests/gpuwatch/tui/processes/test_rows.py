"""Groups with their sums, and the tree of parents."""

from collections.abc import Mapping

from gpuwatch.render.job_cells import Job, Part, job_of
from gpuwatch.tui.processes.listing import Listing
from gpuwatch.tui.processes.local import Facts
from gpuwatch.tui.processes.rows import Row, by_gpu, by_job, by_user, job_key, tree
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process

GIB = 1 << 30
GPUS = [Gpu(index=index, uuid=f"GPU-{index}", state="ok") for index in range(4)]


def _job(pid: int, gpus: list[int], **told: object) -> Job:
    told = {"started_at": 100.0, "memory_bytes": 2 * GIB, **told}
    return job_of([Part(GPUS[index], Process(pid=pid, **told)) for index in gpus])  # type: ignore[arg-type]  # fields by name


def _facts(parents: Mapping[int, int]) -> dict[int, Facts]:
    return {
        pid: Facts(
            pid=pid,
            ppid=ppid,
            user="ann",
            name=f"p{pid}",
            command=f"p{pid}",
            cgroup=None,
            started_at=100.0,
            cpu_pct=None,
            rss_bytes=None,
        )
        for pid, ppid in parents.items()
    }


def _told(rows: list[Row]) -> list[str]:
    return [f"{row.prefix}{row.job.process.pid}" if row.job else f"[{row.title} {row.sums}]" for row in rows]


def test_on_each_gpu_its_part_of_a_process() -> None:
    """A process over two GPUs is told on both, each time with what it holds there; sums are the GPU's."""
    rows = by_gpu([_job(7, [0, 1], sm_pct=60.0), _job(8, [1], sm_pct=70.0, memory_bytes=GIB)])
    assert _told(rows) == [
        "[GPU 0 1 process · SM 60 % · 2.0 GiB]",
        "7",
        "[GPU 1 2 processes · SM 100 % · 3.0 GiB]",
        "7",
        "8",
    ]
    assert len({row.key for row in rows}) == len(rows)
    assert rows[1].job is not None
    assert rows[1].job.gpus == [0]


def test_by_user_with_the_gpus_they_hold() -> None:
    """Each user once, the unknown named as that."""
    rows = by_user([_job(7, [0, 1], user="ann"), _job(8, [1], user=None), _job(9, [1], user="ann")])
    assert _told(rows) == [
        "[ann 2 processes · 2 GPUs · 6.0 GiB]",
        "7",
        "9",
        "[user not known 1 process · 1 GPU · 2.0 GiB]",
        "8",
    ]


def test_by_job_of_scheduler_and_group() -> None:
    """The pod or Slurm job, with the group's name; a process that belongs to nothing is told so."""
    rows = by_job([_job(7, [0], pod="chat", tp_group="vllm:llama@9"), _job(8, [1], slurm_job="5"), _job(9, [2])])
    assert [row.title for row in rows if row.job is None] == ["pod chat · vllm:llama", "slurm 5", "no job known"]


def test_the_tree_shows_parents_that_fork_or_stand_right_above() -> None:
    """A long line of parents is cut to those that tell something; the first process is nobody's child here."""
    jobs = [_job(20, [0]), _job(21, [1]), _job(30, [2])]
    facts = _facts({20: 15, 21: 15, 15: 10, 10: 5, 5: 1, 30: 12, 12: 5, 1: 0})
    assert _told(tree(jobs, facts)) == ["5", "├─ 15", "│  ├─ 20", "│  └─ 21", "└─ 12", "   └─ 30"]
    parents = [row.job.process.pid for row in tree(jobs, facts) if row.parent and row.job]
    assert parents == [5, 15, 12]


def test_a_gpu_process_may_be_a_parent() -> None:
    """An engine that holds a context itself is the root of its workers."""
    assert _told(tree([_job(21, [1]), _job(20, [0])], _facts({20: 1, 21: 20}))) == ["20", "└─ 21"]


def test_a_recycled_pid_has_no_parents_of_somebody_else() -> None:
    """Facts of another start time are another process's."""
    assert _told(tree([_job(20, [0], started_at=5000.0)], _facts({20: 10, 10: 1}))) == ["20"]


def test_where_proc_tells_nothing_the_tree_is_by_job() -> None:
    """Remote, recorded and simulated processes still stand under their job."""
    told = _told(tree([_job(7, [0], pod="chat"), _job(8, [1], pod="chat")], {}))
    assert told == ["[pod chat 2 processes · 2 GPUs · 4.0 GiB]", "├─ 7", "└─ 8"]


def test_a_circle_of_parents_ends() -> None:
    """PIDs read at different moments may seem to be each other's parents."""
    assert len(tree([_job(20, [0])], _facts({20: 10, 10: 11, 11: 10}))) < 80


def _frame(*processes: Process) -> Frame:
    gpu = Gpu(index=0, uuid="GPU-0", state="ok", processes=list(processes))
    return Frame(node="n", taken_at=1.0, simulated=False, gpus=[gpu])


def test_tags_survive_order_filter_and_arrangement() -> None:
    """A tag is on the process, wherever its row goes, and a new process with its PID is not tagged."""
    first, second = (Process(pid=pid, user="ann", started_at=10.0, memory_bytes=pid) for pid in (5, 6))
    listing = Listing()
    rows = listing.rows(_frame(first, second), {})
    tagged = next(row for row in rows if row.job and row.job.process.pid == 5)
    listing.tag(tagged)
    listing.sort_by("pid")
    listing.sort_by("pid")
    listing.next_grouping()
    listing.filter_by("pid:6")
    listing.rows(_frame(second, first), {})
    assert [target.pid for target in listing.chosen_targets(None)] == [5]
    listing.show_all()
    later = listing.rows(_frame(Process(pid=5, started_at=99.0)), {})
    assert [row.key for row in later if row.job and job_key(row.job) in listing.tagged] == []


def test_a_head_tags_all_of_its_group_and_untags_it() -> None:
    """Space on a group's head is for all of it."""
    listing = Listing()
    listing.next_grouping()
    frame = _frame(Process(pid=5, started_at=10.0), Process(pid=6, started_at=10.0))
    head = listing.rows(frame, {})[0]
    listing.tag(head)
    assert sorted(target.pid for target in listing.tagged.values()) == [5, 6]
    listing.tag(head)
    assert listing.tagged == {}
