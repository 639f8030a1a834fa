"""Boards that should be alike and are not."""

from msgspec import structs

from gpuwatch_agent.detectors.mixed_hardware import MixedHardwareDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from support.windows import Story, kinds


def board(index: int, **more: object) -> Gpu:
    facts: dict[str, object] = {
        "name": "NVIDIA H100",
        "architecture": "Hopper",
        "vbios_version": "96.00.99",
        "power_limit_w": 700.0,
        "power_limit_default_w": 700.0,
        "sm_clock_max_mhz": 1980,
        "memory_clock_max_mhz": 2619,
    }
    return Gpu(index=index, uuid=f"GPU-{index}", **{**facts, **more})  # type: ignore[arg-type]  # fields of Gpu by name


def rank(gpu: Gpu, split: str = "tensor", group: str = "vllm:llama@7") -> Gpu:
    one = Process(pid=100 + gpu.index, tp_group=group, tp_rank=gpu.index, split=split)
    return structs.replace(gpu, processes=[one])


def told(*gpus: Gpu) -> list[Finding]:
    return Story(gpus, [MixedHardwareDetector()]).passes(40)


def test_boards_that_are_alike_are_nothing() -> None:
    """Alike within a group and outside of one."""
    assert told(*(rank(board(index)) for index in range(4))) == []
    assert told(*(board(index) for index in range(4))) == []


def test_a_slower_model_in_a_group_that_works_in_step_is_a_warning() -> None:
    """The group waits for it at every layer."""
    slow = board(2, name="NVIDIA A100", architecture="Ampere", sm_clock_max_mhz=1410)
    (finding,) = told(rank(board(0)), rank(board(1)), rank(slow))
    assert (finding.kind, finding.severity, finding.gpus) == ("mixed_hardware", "warning", [2])
    assert "GPUs 0 and 1 are NVIDIA H100 and GPU 2 is NVIDIA A100" in finding.summary
    assert finding.evidence == {"models": "NVIDIA H100; NVIDIA A100"}


def test_a_name_that_differs_by_memory_only_costs_nothing() -> None:
    """Equal chips with more memory keep pace: told, and no reason to act today."""
    (finding,) = told(rank(board(0)), rank(board(1, name="NVIDIA H100 96GB")))
    assert (finding.severity, finding.gpus) == ("info", [0, 1])


def test_unlike_models_that_do_not_wait_for_each_other() -> None:
    """A layer split lets each board go at its own pace: told as info."""
    process = Process(pid=7, name="llama-server", split="layer")
    gpus = [board(0, name="RTX 3090", sm_clock_max_mhz=2100), board(1, name="RTX 4090", sm_clock_max_mhz=3105)]
    assert [one.severity for one in told(*(structs.replace(gpu, processes=[process]) for gpu in gpus))] == ["info"]


def test_unlike_models_on_a_node_that_share_no_job_are_nothing() -> None:
    """A node may well hold a small board beside the large ones."""
    assert told(board(0), board(1), board(2, name="NVIDIA T4", power_limit_w=70.0, vbios_version="90")) == []


def test_a_lowered_power_limit_names_the_odd_board() -> None:
    """With both figures, in a group and outside of one."""
    for make in (rank, lambda gpu: gpu):
        (finding,) = told(*(make(board(index, power_limit_w=400.0 if index == 5 else 700.0)) for index in range(8)))
        assert (finding.severity, finding.gpus) == ("info", [5])
        assert "GPU 5 has a power limit of 400 W, the 7 others 700 W" in finding.summary
        assert "nvidia-smi -i N -pl WATTS" in finding.action


def test_of_two_boards_the_lower_one_is_odd() -> None:
    """Where neither is in the majority."""
    (finding,) = told(rank(board(0, power_limit_w=500.0)), rank(board(1)))
    assert finding.gpus == [0]
    assert "GPU 0 has a power limit of 500 W, its sibling 700 W" in finding.summary


def test_unlike_clocks_and_vbios() -> None:
    """Clocks within a group only; a VBIOS also among the boards of a node."""
    (finding,) = told(rank(board(0)), rank(board(1)), rank(board(2, sm_clock_max_mhz=1755, vbios_version="96.00.01")))
    assert (finding.severity, finding.gpus) == ("info", [2])
    assert set(finding.evidence) == {"highest SM clock", "VBIOS"}
    assert told(board(0), board(1, sm_clock_max_mhz=1755)) == []
    (finding,) = told(board(0), board(1), board(2, vbios_version="96.00.01"))
    assert (finding.severity, finding.gpus) == ("info", [2])
    assert "96.00.01 on GPU 2" in finding.summary


def test_what_a_group_has_told_is_not_told_again_of_the_node() -> None:
    """One fact, one finding; boards outside of the group are another matter."""
    gpus = [rank(board(0)), rank(board(1, power_limit_w=500.0))]
    assert kinds(told(*gpus)) == ["mixed_hardware"]
    assert len(told(*gpus, board(2, power_limit_w=300.0))) == 2


def test_what_is_not_known_is_not_unlike() -> None:
    """Boards that do not tell, and boards that do not answer, are left out."""
    assert told(rank(board(0)), rank(board(1, vbios_version=None, power_limit_w=None, sm_clock_max_mhz=None))) == []
    assert told(rank(board(0)), rank(board(1, state="stale", power_limit_w=300.0))) == []
    assert told(rank(board(0)), rank(board(1, name=None, power_limit_w=300.0))) == []


def test_hysteresis_in_the_distance_of_limits() -> None:
    """Raised above 3 %, it stays until they are within half of that."""
    story = Story([rank(board(0)), rank(board(1))], [MixedHardwareDetector()])

    def limited(watts: float):  # type: ignore[no-untyped-def]  # a change for Story
        return lambda gpu, _: structs.replace(gpu, power_limit_w=watts) if gpu.index else gpu

    assert story.passes(100, limited(685)) == []
    assert kinds(story.passes(40, limited(600))) == ["mixed_hardware"]
    assert kinds(story.passes(100, limited(685))) == ["mixed_hardware"]
    assert story.passes(70, limited(695)) == []


def test_a_group_that_a_board_leaves() -> None:
    """With the odd board gone there is nothing to tell any more."""
    story = Story([rank(board(0)), rank(board(1)), rank(board(2, power_limit_w=300.0))], [MixedHardwareDetector()])
    assert kinds(story.passes(40)) == ["mixed_hardware"]
    story.gpus.pop()
    assert story.passes(70) == []
