import pytest

from gpuwatch_agent.hardware.base import GpuProcess, ProcessFacts
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.hardware.simulated.machines import MACHINES


def listed(spec: str) -> tuple[list[list[GpuProcess]], dict[int, ProcessFacts]]:
    """The processes of each GPU, and the facts about them and their ancestors."""
    hardware = SimulatedHardware(spec, clock=lambda: 1_750_000_000.0)
    hardware.open()
    on_gpus = [device.processes().processes or [] for device in hardware.devices()]
    facts = hardware.process_facts([process.pid for gpu in on_gpus for process in gpu])
    assert facts is not None
    return on_gpus, facts


@pytest.mark.parametrize("machine", list(MACHINES))
def test_every_process_has_facts_up_to_the_first(machine: str) -> None:
    """Each listed PID and all its ancestors are known, started before now, and the chain ends at PID 1."""
    on_gpus, facts = listed(machine)
    for process in (process for gpu in on_gpus for process in gpu):
        pid = process.pid
        while pid != 1:
            started_at = facts[pid].started_at
            assert started_at is not None
            assert started_at < 1_750_000_000.0
            pid = facts[pid].ppid or 0
        assert process.memory_bytes


def test_vllm_is_titled_as_it_titles_itself() -> None:
    """Eight workers with their rank in the title and nothing in their environment, under a parent that tells the size."""
    on_gpus, facts = listed("dgx-h100-8")
    assert sum(len(gpu) for gpu in on_gpus) == 24
    workers = [facts[gpu[0].pid] for gpu in on_gpus]

    assert [worker.command for worker in workers] == [(f"VLLM::Worker_TP{rank}",) for rank in range(8)]
    assert {worker.name for worker in workers} == {"VLLM::Worker_TP"}
    assert all(worker.environ == {} for worker in workers)
    core = facts[workers[0].ppid or 0]
    assert core.command == ("VLLM::EngineCore",)
    serve = facts[core.ppid or 0].command
    assert serve is not None
    assert serve[serve.index("--tensor-parallel-size") + 1] == "8"
    assert workers[0].cgroup is not None
    assert "kubepods" in workers[0].cgroup
    assert "cri-containerd-" in workers[0].cgroup


def test_torchrun_tells_its_ranks_by_environment() -> None:
    """Ranks, world size and rendezvous are in each rank's environment, the Slurm job in path and environment."""
    on_gpus, facts = listed("dgx-v100-8")
    ranks = [facts[gpu[0].pid] for gpu in on_gpus]

    assert [(rank.environ or {})["RANK"] for rank in ranks] == [str(rank) for rank in range(8)]
    assert {(rank.environ or {})["WORLD_SIZE"] for rank in ranks} == {"8"}
    assert {rank.cgroup for rank in ranks} == {"0::/system.slice/slurmstepd.scope/job_417733/step_0/user/task_0"}
    assert (ranks[0].environ or {})["SLURM_JOB_ID"] == "417733"


def test_a_layer_split_is_one_process_on_both_gpus() -> None:
    """llama.cpp shows the same PID on both GPUs; the desktop is a graphics process on the first."""
    (first, second), _ = listed("2x4090")

    assert {process.pid for process in first} > {process.pid for process in second}
    assert {process.kind for process in first} == {"compute", "graphics"}


def test_unknown_pids_are_left_out() -> None:
    """A PID that is nobody's has no facts, and is no error."""
    hardware = SimulatedHardware("l4", clock=lambda: 0.0)
    hardware.open()

    assert hardware.process_facts([4_000_000]) == {}
