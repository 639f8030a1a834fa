"""An agent shows in its frames and metrics what probes have found on its machine."""

from pathlib import Path

from fake_nvml.fixtures import FakeNode
from gpuwatch_agent.probes.result import outcome_of
from gpuwatch_agent.probes.store import Store
from support.probes import result, row
from support.running_agent import running_agent

RUN = result([row(1024, 14.0), row(1 << 30, 4000.0)], passed=True)


def test_stored_results_are_in_the_agents_frames(fake_node: FakeNode, tmp_path: Path) -> None:
    """What lies in the folder at its start, and in Prometheus' words, too."""
    Store(tmp_path / "probes", keep=10).add(RUN)
    env = {**fake_node.env, "GPUWATCH_PROBES_DIRECTORY": str(tmp_path / "probes"), "GPUWATCH_HARDWARE_KMSG": ""}
    with running_agent(env, log=tmp_path / "agent.log") as agent:
        frame = agent.frame_where(lambda frame: bool(frame.probes))
        assert frame.probes == [outcome_of(RUN)]
        told = agent.get("/metrics").text
        assert 'gpuwatch_probe_passed{backend="nccl",probe="allreduce",ranks="8"} 1' in told


def test_a_simulated_machine_has_no_probes(tmp_path: Path) -> None:
    """Nothing is shown of it that was measured on another."""
    Store(tmp_path / "probes", keep=10).add(RUN)
    env = {"GPUWATCH_PROBES_DIRECTORY": str(tmp_path / "probes")}
    with running_agent(env, "--sim", "dgx-h100-8", log=tmp_path / "agent.log") as agent:
        seen = 0

        def third(frame: object) -> bool:
            nonlocal seen
            seen += 1
            return seen == 3

        assert agent.frame_where(third).probes == []
