"""Memory that is held while nothing is computed."""

import math

from msgspec import structs

from gpuwatch_agent.detectors.idle_allocation import IdleAllocationDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Mig
from gpuwatch_agent.model.process import Process
from support.windows import START, Change, Story, kinds

GIB = 1 << 30
NOTEBOOK = Process(pid=77, user="ada", name="ipykernel_launcher", command="python -m ipykernel_launcher -f x.json")
ENGINE = Process(pid=78, user="serve", name="VLLM::Worker_TP0", command="VLLM::Worker_TP0")
# Seconds, where the defaults are half an hour and four hours.
SOON = {"idle_allocation": {"raise_after_s": 120.0, "warn_after_s": 600.0}}


def held(index: int = 0, process: Process | None = NOTEBOOK, gib: float = 30, **more: object) -> Gpu:
    facts: dict[str, object] = {
        "utilization_pct": 0.0,
        "power_w": 68.0,
        "power_limit_w": 700.0,
        "memory_used_bytes": int(gib * GIB),
        "memory_total_bytes": 80 * GIB,
        "processes": [] if process is None else [structs.replace(process, memory_bytes=int(gib * GIB))],
    }
    return Gpu(index=index, uuid=f"GPU-{index}", **{**facts, **more})  # type: ignore[arg-type]  # fields of Gpu by name


def told(*gpus: Gpu, seconds: int = 180, change: Change = lambda gpu, _: gpu) -> list[Finding]:
    return Story(gpus, [IdleAllocationDetector()], SOON).passes(seconds, change)


def test_half_an_hour_by_default() -> None:
    """Info then, with who holds how much, since when, and what it has cost so far."""
    story = Story([held()], [IdleAllocationDetector()])
    assert story.passes(1800) == []
    (finding,) = story.passes(30)
    assert (finding.kind, finding.severity, finding.gpus, finding.since) == ("idle_allocation", "info", [0], START)
    assert (
        finding.summary
        == "GPU 0 holds 30 GiB and has done no work for 30 min, at 68 W: ipykernel_launcher of ada, PID 77."
    )
    assert finding.evidence["idle_s"] == 1829
    assert finding.evidence["energy_wh"] == 34.5


def test_a_warning_after_hours() -> None:
    """The same finding grows, and keeps the moment it began."""
    story = Story([held()], [IdleAllocationDetector()], SOON)
    assert [one.severity for one in story.passes(600)] == ["info"]
    (finding,) = story.passes(10)
    assert (finding.severity, finding.since) == ("warning", START)
    assert [event.event for event in story.engine.events] == ["raised", "changed"]


def test_an_engine_that_waits_for_requests_is_never_more_than_info() -> None:
    """It keeps its model loaded by trade; a program called a server does, too."""
    server = structs.replace(NOTEBOOK, name="my-llm-server", command="/opt/my-llm-server --port 80")
    vllm = structs.replace(NOTEBOOK, name="vllm", command="/usr/bin/python3 /usr/local/bin/vllm serve Qwen/Qwen3-8B")
    for process in (ENGINE, server, vllm):
        (finding,) = told(held(process=process), seconds=1000)
        assert finding.severity == "info"
        assert finding.cause is not None
        assert "waits for requests" in finding.cause


def test_little_memory_is_nobodys_business() -> None:
    """Both figures count: GiB, and the share of the board."""
    assert told(held(gib=3.5)) == []
    assert told(held(gib=7, memory_total_bytes=180 * GIB)) == []
    assert told(held(process=None, gib=0.5)) == []


def test_work_is_work() -> None:
    """By utilisation, and by power where a driver's utilisation says nothing."""
    assert told(held(utilization_pct=40.0)) == []
    assert told(held(utilization_pct=0.0, power_w=500.0)) == []


def test_a_second_of_work_ends_it() -> None:
    """A model that answers one request now and then works: the hours begin anew."""
    story = Story([held()], [IdleAllocationDetector()], SOON)
    assert kinds(story.passes(200)) == ["idle_allocation"]
    story.passes(1, lambda gpu, _: structs.replace(gpu, utilization_pct=80.0))
    assert story.passes(59) == []
    (finding,) = story.passes(200)
    assert finding.since == START + 260


def test_a_gap_in_the_readings_takes_no_hours_away() -> None:
    """Twenty seconds in which the GPU did not answer say nothing of work."""
    story = Story([held()], [IdleAllocationDetector()], SOON)
    story.passes(200)
    story.passes(20, lambda gpu, _: structs.replace(gpu, state="stale", age_s=9.0))
    (finding,) = story.passes(30)
    assert finding.since == START


def test_what_is_unknown_is_not_idle() -> None:
    """No utilisation, no memory figures, a GPU cut into slices: nothing is said."""
    assert told(held(utilization_pct=None)) == []
    assert told(held(memory_used_bytes=None)) == []
    assert told(held(memory_total_bytes=None)) == []
    assert told(held(mig=Mig(enabled=True))) == []
    assert told(held(state="lost")) == []


def test_without_a_power_sensor_the_hours_are_told_alone() -> None:
    """Watts that were not measured are not summed up."""
    (finding,) = told(held(power_w=None))
    assert "at unknown power" in finding.summary
    assert finding.evidence["energy_wh"] is None
    (finding,) = told(held(power_w=math.nan, power_limit_w=None))
    assert finding.evidence["power_w"] is None


def test_memory_without_a_process() -> None:
    """Somebody holds it whom the driver does not list: said so, and never more than info."""
    (finding,) = told(held(process=None), seconds=1000)
    assert finding.severity == "info"
    assert "no process is listed there" in finding.summary
    assert "fuser" in finding.action


def test_where_to_look_for_the_holder() -> None:
    """Slurm job, pod and container, as far as they are known."""
    slurm = structs.replace(NOTEBOOK, slurm_job="417733")
    (finding,) = told(held(process=slurm))
    assert "ipykernel_launcher of ada, PID 77, Slurm job 417733." in finding.summary
    pod = structs.replace(NOTEBOOK, user=None, pod="12ab", container="f" * 64)
    (finding,) = told(held(process=pod))
    assert "ipykernel_launcher (PID 77, pod 12ab)." in finding.summary


def test_an_idle_group_is_one_finding() -> None:
    """While only some of its members are idle, each is told by itself."""

    def member(index: int, **more: float) -> Gpu:
        rank = structs.replace(NOTEBOOK, pid=80 + index, tp_group="torchrun:train.py@79", tp_rank=index, split="data")
        return held(index, rank, **more)

    (finding,) = told(member(0), member(1), member(2))
    assert (finding.gpus, finding.key) == ([0, 1, 2], "torchrun:train.py@79")
    assert finding.summary.startswith("GPUs 0-2 hold 90 GiB and have done no work for 3 min, at 204 W: torchrun:train")
    (finding,) = told(member(0), member(1, utilization_pct=100.0, power_w=600.0))
    assert (finding.gpus, finding.key) == ([0], "GPU-0")


def test_a_desktop_is_no_allocation() -> None:
    """The memory that a display server holds is not held for work; a large one is told without blame."""
    xorg = structs.replace(NOTEBOOK, kind="graphics", name="Xorg")
    assert told(held(process=xorg, gib=1.0)) == []
    (finding,) = told(held(process=xorg, gib=6.0), seconds=1000)
    assert finding.severity == "info"


def test_half_an_hour_outlives_readings_that_drop_out() -> None:
    """One in ten missing, and half a minute of none: it is idle all the same; a second of work begins it anew."""

    def spotty(gpu: Gpu, second: int) -> Gpu:
        gone = second % 10 == 3 or 600 <= second < 630
        return structs.replace(gpu, utilization_pct=None, power_w=None) if gone else gpu

    def works_once(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, utilization_pct=80.0) if second == 900 else gpu

    assert kinds(Story([held()], [IdleAllocationDetector()]).passes(1830, spotty)) == ["idle_allocation"]
    assert Story([held()], [IdleAllocationDetector()]).passes(1830, works_once) == []
