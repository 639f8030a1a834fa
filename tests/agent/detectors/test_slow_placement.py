"""Jobs that sit badly while better seats are free."""

from collections.abc import Sequence

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.slow_placement import SlowPlacementDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, Mig
from gpuwatch_agent.model.process import Process
from gpuwatch_agent.model.topology import Topology, TopologyGpu
from support.windows import Story, kinds

GIB = 1 << 30
# Two NVLink pairs on one socket each, as bridges make them.
PAIRS = [["X", "NV4", "SYS", "SYS"], ["NV4", "X", "SYS", "SYS"], ["SYS", "SYS", "X", "NV4"], ["SYS", "SYS", "NV4", "X"]]


def gpu(index: int, **more: object) -> Gpu:
    """An idle board that nobody holds."""
    facts: dict[str, object] = {
        "name": "RTX 3090",
        "utilization_pct": 0.0,
        "power_w": 20.0,
        "power_limit_w": 350.0,
        "memory_used_bytes": GIB // 2,
        "memory_total_bytes": 24 * GIB,
        "processes": [],
    }
    return Gpu(index=index, uuid=f"GPU-{index}", **{**facts, **more})  # type: ignore[arg-type]  # fields of Gpu by name


def busy(index: int, **process: object) -> Gpu:
    """One rank of a tensor-parallel job works on it."""
    facts: dict[str, object] = {
        "pid": 100 + index,
        "user": "ada",
        "kind": "compute",
        "tp_group": "vllm:qwen@99",
        "tp_rank": index,
        "split": "tensor",
        "command": f"VLLM::Worker_TP{index}",
    }
    one = Process(**{**facts, **process})  # type: ignore[arg-type]  # fields of Process by name
    return gpu(index, utilization_pct=100.0, power_w=300.0, memory_used_bytes=20 * GIB, processes=[one])


def wired(words: Sequence[Sequence[str | None]]) -> Topology:
    places = [TopologyGpu(index=index, uuid=f"GPU-{index}") for index in range(len(words))]
    return Topology(node="n", taken_at=0.0, simulated=True, gpus=places, matrix=[list(row) for row in words])


def told(
    gpus: Sequence[Gpu], words: Sequence[Sequence[str | None]] = PAIRS, settings: dict[str, object] | None = None
) -> list[Finding]:
    topology = wired(words)
    story = Story(gpus, [SlowPlacementDetector()], {"slow_placement": settings or {}}, topology=lambda: topology)
    return story.passes(310)


def test_across_sockets_beside_an_idle_nvlink_sibling() -> None:
    """Says where the group is, where it would do better, and how to get it there."""
    (finding,) = told([busy(0), gpu(1), busy(2), gpu(3)])
    assert (finding.kind, finding.severity, finding.gpus) == ("slow_placement", "warning", [0, 2])
    assert (
        finding.summary
        == "Group vllm:qwen@99 on GPUs 0 and 2 meets over SYS, while GPU 1 is idle: on GPUs 0 and 1 it would have NV4."
    )
    assert "CUDA_VISIBLE_DEVICES=0,1" in finding.action


def test_not_before_the_sibling_has_been_idle_for_a_while() -> None:
    """Five minutes by default: a job that is about to start is no free seat."""
    topology = wired(PAIRS)
    story = Story([busy(0), gpu(1), busy(2), gpu(3)], [SlowPlacementDetector()], topology=lambda: topology)
    assert story.passes(299) == []
    assert kinds(story.passes(5)) == ["slow_placement"]


@pytest.mark.parametrize(
    "gpus",
    [
        [busy(0), busy(1), gpu(2), gpu(3)],
        [busy(0), busy(1), busy(2), busy(3)],
        [busy(0), busy(1), busy(2), gpu(3)],
        [busy(0), gpu(1, memory_used_bytes=9 * GIB), busy(2), gpu(3, memory_used_bytes=9 * GIB)],
        [busy(0), gpu(1, utilization_pct=30.0), busy(2), gpu(3, utilization_pct=30.0)],
        [busy(0), gpu(1, processes=None), busy(2), gpu(3, state="stale")],
        [busy(0), gpu(1, name="RTX 4090"), busy(2), gpu(3, name="RTX 4090")],
        [busy(0), gpu(1, display_active=True), busy(2), gpu(3, processes=[Process(pid=9, kind="compute")])],
        [busy(0, split="layer"), gpu(1), busy(2, split="layer"), gpu(3)],
    ],
    ids=["well", "full", "three", "held", "working", "unknown", "other-model", "not-for-it", "layer-split"],
)
def test_no_better_seat_is_free(gpus: list[Gpu]) -> None:
    """On a pair already, or with siblings that are taken, busy, unknown, of another model, or not needed."""
    assert told(gpus) == []


def test_a_switch_is_as_near_as_it_gets() -> None:
    """Behind NVSwitch all GPUs are equally near, whatever the sockets."""
    words = [["X" if a == b else "NV18" for b in range(4)] for a in range(4)]
    assert told([busy(0), gpu(1), busy(2), gpu(3)], words) == []


def test_without_nvlink_a_socket_is_still_better_than_two() -> None:
    """Info: it helps, and less."""
    words = [[word.replace("NV4", "NODE") for word in row] for row in PAIRS]
    (finding,) = told([busy(0), gpu(1), busy(2), gpu(3)], words)
    assert finding.severity == "info"
    assert "it would have NODE" in finding.summary
    words = [["X" if a == b else "PHB" for b in range(4)] for a in range(4)]
    assert told([busy(0), gpu(1), busy(2), gpu(3)], words) == []


def test_wiring_that_is_not_known_proves_nothing() -> None:
    """Neither a missing word, nor a missing matrix, nor GPUs that are not in it."""
    words: list[list[str | None]] = [list(row) for row in PAIRS]
    words[0][2] = words[2][0] = None
    gpus = [busy(0), gpu(1), busy(2), gpu(3)]
    assert told(gpus, words) == []
    assert told(gpus, []) == []
    assert Story(gpus, [SlowPlacementDetector()]).passes(310) == []


def test_the_wiring_is_drawn_up_at_most_once_a_minute() -> None:
    """And not at all while no GPU is free."""
    asked: list[int] = []

    def topology() -> Topology:
        asked.append(1)
        return wired(PAIRS)

    Story([busy(0), busy(1), busy(2), busy(3)], [SlowPlacementDetector()], topology=topology).passes(120)
    assert asked == []
    Story([busy(0), gpu(1), busy(2), gpu(3)], [SlowPlacementDetector()], topology=topology).passes(120)
    assert len(asked) <= 3


def test_a_sibling_that_is_taken_ends_it() -> None:
    """The better seat is gone, and so is the finding after a minute."""
    topology = wired(PAIRS)
    story = Story([busy(0), gpu(1), busy(2), gpu(3)], [SlowPlacementDetector()], topology=lambda: topology)
    assert kinds(story.passes(310)) == ["slow_placement"]

    def taken(one: Gpu, _: int) -> Gpu:
        other = [Process(pid=9, kind="compute")]
        return structs.replace(one, processes=other) if one.index in {1, 3} else one

    assert kinds(story.passes(50, taken)) == ["slow_placement"]
    assert story.passes(20, taken) == []


def pair(**process: object) -> list[Gpu]:
    return [*(busy(index, **{"visible_gpus": "0,1", **process}) for index in (0, 1)), gpu(2), gpu(3)]


def test_gpus_that_an_environment_variable_hides() -> None:
    """Info: names the variable, and what it hides."""
    (finding,) = told(pair())
    assert (finding.severity, finding.gpus) == ("info", [0, 1])
    assert (
        finding.summary == "vllm:qwen@99 runs on 2 of 4 GPUs: CUDA_VISIBLE_DEVICES=0,1 hides GPUs 2 and 3 from it, "
        "which are idle."
    )
    assert finding.evidence["cuda_visible_devices"] == "0,1"


@pytest.mark.parametrize(
    "gpus",
    [
        pair(slurm_job="7"),
        pair(pod="12ab"),
        pair(container="f" * 64),
        pair(visible_gpus=None),
        pair(visible_gpus=""),
        pair(visible_gpus="0,1,2,3"),
        pair(visible_gpus="MIG-1,MIG-2"),
        pair(visible_gpus="0,-1"),
        [*pair()[:2], busy(2, tp_group="other"), busy(3, tp_group="other")],
        [busy(0, visible_gpus="0"), busy(1, visible_gpus="1"), gpu(2), gpu(3)],
        [busy(0, visible_gpus="0", tp_group=None), gpu(1), gpu(2), gpu(3)],
        [*pair()[:2], gpu(2, name="T400"), gpu(3, name="T400")],
    ],
    ids=[
        "slurm",
        "pod",
        "container",
        "unset",
        "empty",
        "all",
        "mig",
        "minus",
        "full",
        "own-each",
        "single",
        "other-model",
    ],
)
def test_what_was_meant_so_is_no_finding(gpus: list[Gpu]) -> None:
    """Schedulers and runtimes confine on purpose, launchers give each rank its own, and one GPU is a choice."""
    assert told(gpus) == []


def test_an_engine_that_takes_all_it_sees() -> None:
    """Even on one GPU: it would have taken the others."""
    lone = busy(
        0, visible_gpus="GPU-0", tp_group=None, split=None, command="/usr/bin/ollama runner --model x", name="ollama"
    )
    (finding,) = told([lone, gpu(1), gpu(2), gpu(3)])
    assert "ollama@100 runs on 1 of 4 GPUs" in finding.summary


def test_hidden_gpus_can_be_switched_off_by_themselves() -> None:
    """Where people share a machine by that variable."""
    assert told(pair(), settings={"hidden_gpus": False}) == []


def sliced(one: Gpu) -> Gpu:
    return structs.replace(one, mig=Mig(enabled=True), utilization_pct=None)


def test_a_group_in_slices_while_a_joined_pair_is_idle() -> None:
    """Info: MIG takes peer-to-peer away, so whole GPUs would be faster; only those are offered."""
    (finding,) = told([sliced(busy(0, gpu_instance=1)), sliced(busy(1, gpu_instance=1)), gpu(2), gpu(3)])
    assert (finding.severity, finding.gpus, finding.evidence["better"]) == ("info", [0, 1], "2,3")
    assert finding.summary == (
        "Group vllm:qwen@99 on slices of GPUs 0 and 1 meets in host memory (MIG), while GPUs 2 and 3 are idle: "
        "on GPUs 2 and 3 it would have NV4."
    )
    assert finding.cause is not None
    assert finding.cause.startswith("MIG: no peer-to-peer")


def test_slices_are_no_seats_for_a_job_that_has_whole_gpus() -> None:
    """Neither as better ones, nor as hidden ones; nor is there anything better where only slices are idle."""
    assert told([busy(0), sliced(gpu(1)), busy(2), sliced(gpu(3))]) == []
    assert told([*pair()[:2], sliced(gpu(2)), sliced(gpu(3))]) == []
    (finding,) = told([*pair()[:3], sliced(gpu(3))])
    assert "runs on 2 of 3 GPUs" in finding.summary
    assert told([sliced(busy(0)), sliced(busy(1)), sliced(gpu(2)), sliced(gpu(3))]) == []


def test_gpus_named_by_their_uuid_are_counted_alike() -> None:
    """Half of a node's GPUs by UUID, in another order than theirs."""
    (finding,) = told(pair(visible_gpus="GPU-1,GPU-0"))
    assert finding.evidence["idle"] == "2,3"
