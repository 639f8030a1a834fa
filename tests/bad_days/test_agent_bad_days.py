"""Bad days of a node, each on a real agent over the fake driver.

In each the API answers, the other GPUs stay fresh, and the message says what to do.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fake_nvml.build import DRIVER_470_MISSING
from fake_nvml.fixtures import Builder, FakeNode
from fake_nvml.scenario import Scenario
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.frame import Frame
from support.running_agent import RunningAgent, all_fresh, running_agent, state_of

# Quick ticks, so that a bad day is over in a second or two.
QUICK = {
    "GPUWATCH_SAMPLING_INTERVAL_S": "0.1",
    "GPUWATCH_SAMPLING_MEDIUM_S": "0.2",
    "GPUWATCH_SAMPLING_SLOW_S": "0.5",
    "GPUWATCH_SAMPLING_DEADLINE_S": "0.2",
    "GPUWATCH_SAMPLING_STALE_AFTER_S": "0.6",
    "GPUWATCH_HARDWARE_KMSG": "",
}


@pytest.fixture
def agent(fake_node: FakeNode, tmp_path: Path) -> Iterator[RunningAgent]:
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "agent.log") as one:
        one.frame_where(all_fresh())
        yield one


def answers(agent: RunningAgent) -> None:
    """The API is there, whatever the driver does."""
    assert agent.get("/healthz").status_code == 200
    assert agent.get("/v1/snapshot").status_code == 200
    assert agent.get("/metrics").status_code == 200


def test_a_call_that_blocks_for_long_makes_one_gpu_stale_and_then_it_is_back(
    agent: RunningAgent, fake_node: FakeNode
) -> None:
    """A GPU whose driver call takes seconds is stale meanwhile, with the reading it hangs in; then it is fresh again."""
    fake_node.scenario.delay("nvmlDeviceGetClockInfo", 2500, gpu=3, times=1).save()
    frame = agent.frame_where(state_of(3, "stale"))
    assert "while reading clocks" in str(frame.gpus[3].problem)
    assert frame.gpus[3].power_w is not None, "the last values stay, with their age"
    assert (frame.gpus[3].age_s or 0) > 0.5
    answers(agent)
    agent.frame_where(all_fresh())


def test_a_call_that_never_returns_costs_one_row(agent: RunningAgent, fake_node: FakeNode) -> None:
    """The hung GPU goes stale with growing age; seven are read on, and the agent stops in time all the same."""
    fake_node.scenario.hang("nvmlDeviceGetPerformanceState", gpu=5).save()
    agent.frame_where(state_of(5, "stale"))
    frame = agent.frame_where(lambda frame: (frame.gpus[5].age_s or 0) > 2.0 and all_fresh(5)(frame))
    assert "dmesg" in str(frame.gpus[5].problem)
    answers(agent)
    status, seconds = agent.end()
    assert status == 0
    assert seconds < 2.5


def test_a_crash_restarts_the_sampler_and_leaves_out_what_crashed_it(agent: RunningAgent, fake_node: FakeNode) -> None:
    """SIGSEGV at each reading of one sensor of one GPU: soon all are fresh, without that sensor on that GPU."""
    fake_node.scenario.crash("nvmlDeviceGetDecoderUtilization", gpu=2).save()
    frame = agent.frame_where(
        lambda frame: all_fresh()(frame) and frame.gpus[2].absent.get("decoder_pct") is Absence.SWITCHED_OFF
    )
    assert frame.gpus[2].power_w is not None
    assert frame.gpus[1].decoder_pct is not None
    assert frame.agent is not None
    assert frame.agent.sampler_restarts >= 2
    answers(agent)


def test_a_crash_outside_any_reading_is_survived(agent: RunningAgent, fake_node: FakeNode) -> None:
    """The sampler killed from outside (by the kernel's memory killer, say) is started again."""
    (before,) = agent.samplers()
    os.kill(before, signal.SIGKILL)
    frame = agent.frame_where(lambda frame: frame.agent is not None and frame.agent.sampler_restarts == 1)
    agent.frame_where(all_fresh())
    assert agent.samplers() != [before]
    assert len(frame.gpus) == 8
    answers(agent)


def test_a_gpu_lost_under_way_keeps_its_row_and_comes_back(agent: RunningAgent, fake_node: FakeNode) -> None:
    """Off the bus: lost, with its last values and what to do; back again: fresh."""
    fake_node.scenario.lose(6).save()
    frame = agent.frame_where(state_of(6, "lost"))
    assert "PCIe bus" in str(frame.gpus[6].problem)
    assert frame.gpus[6].name == "NVIDIA H100 80GB HBM3"
    assert frame.gpus[6].power_w is not None
    metrics = agent.get("/metrics").text
    assert 'gpuwatch_gpu_state{gpu="6",state="lost",' in metrics
    assert 'gpuwatch_gpu_power_watts{gpu="6"' not in metrics, "old values must not pass for fresh"
    answers(agent)
    fake_node.scenario.heal(gpu=6).save()
    agent.frame_where(all_fresh())


def test_a_gpu_that_leaves_the_list_is_lost_and_returns(agent: RunningAgent, fake_node: FakeNode) -> None:
    """The driver lists seven: the eighth is lost, not gone, though the indices shift; put back, it is picked up."""
    before = {gpu.uuid for gpu in agent.frame_where(all_fresh()).gpus}
    gone = sorted(before)[2]
    fake_node.scenario.remove(2).save()
    frame = agent.frame_where(lambda frame: any(gpu.uuid == gone and gpu.state == "lost" for gpu in frame.gpus))
    assert {gpu.uuid for gpu in frame.gpus} == before
    agent.frame_where(lambda frame: sum(gpu.state == "ok" for gpu in frame.gpus) == 7)
    fake_node.scenario.put_back(2).save()
    back = agent.frame_where(lambda frame: all_fresh()(frame) and len(frame.gpus) == 8)
    assert {gpu.uuid for gpu in back.gpus} == before


def test_a_driver_upgraded_underneath_is_named_and_then_read_again(agent: RunningAgent, fake_node: FakeNode) -> None:
    """All calls answer "version mismatch" until a new process opens the new library: the sampler is that process."""
    fake_node.scenario.upgrade_driver("590.10.01").save()
    frame = agent.frame_where(lambda frame: frame.driver_version == "590.10.01" and all_fresh()(frame))
    assert frame.trouble is None
    assert frame.agent is not None
    assert frame.agent.sampler_restarts >= 1
    answers(agent)


def test_a_driver_that_goes_away_leaves_old_values_marked_and_a_sentence(
    agent: RunningAgent, fake_node: FakeNode
) -> None:
    """Unloaded under us: rows stale, the trouble in words, one finding that names them all; loaded again: fresh."""
    fake_node.scenario.fail("nvmlDevice*", 9).fail_init(9).save()
    frame = agent.frame_where(lambda frame: frame.trouble is not None and all(g.state == "stale" for g in frame.gpus))
    assert frame.trouble is not None
    assert frame.trouble.kind == "driver_not_loaded"
    assert "modprobe nvidia" in frame.trouble.action
    assert len(frame.gpus) == 8
    frame = agent.frame_where(lambda frame: bool(frame.findings))
    assert [(one.kind, one.severity, one.gpus) for one in frame.findings] == [("gpu_lost", "critical", list(range(8)))]
    (event,) = agent.get("/v1/findings?kind=gpu_lost").json()["events"]
    assert (event["event"], event["finding"]["cause"]) == ("raised", frame.trouble.message if frame.trouble else "")
    answers(agent)
    fake_node.scenario.heal().save()
    agent.frame_where(all_fresh())


def test_unsupported_families_of_calls_cost_only_their_fields(agent: RunningAgent, fake_node: FakeNode) -> None:
    """ECC, NVLink and fans not supported: no row suffers."""
    for family in ("nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetNvLink*", "nvmlDeviceGet*Fan*", "nvmlDeviceGetEccMode"):
        fake_node.scenario.fail(family, 3)
    fake_node.scenario.save()
    frame = agent.frame_where(lambda frame: frame.gpus[0].absent.get("ecc") is Absence.NOT_SUPPORTED)
    assert all_fresh()(frame)
    assert frame.gpus[0].ecc is None
    assert frame.gpus[0].power_w is not None


def test_xids_are_counted_as_they_happen(agent: RunningAgent, fake_node: FakeNode) -> None:
    """An Xid from the driver's event set is on its GPU within moments, with code and count."""
    fake_node.scenario.xid(4, 48)
    fake_node.scenario.save()
    agent.frame_where(lambda frame: [(x.code, x.count) for x in frame.gpus[4].xids or ()] == [(48, 1)])
    fake_node.scenario.xid(4, 48)
    fake_node.scenario.save()
    frame = agent.frame_where(lambda frame: [(x.code, x.count) for x in frame.gpus[4].xids or ()] == [(48, 2)])
    assert frame.gpus[3].xids == []


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (9, "driver_not_loaded", "modprobe"),
        (18, "driver_mismatch", "Reboot"),
        (4, "driver_permission", "/dev/nvidia"),
        (999, "driver_unavailable", "dmesg"),
    ],
)
def test_a_driver_that_refuses_is_a_sentence_and_is_tried_again(
    fake_node: FakeNode, tmp_path: Path, code: int, kind: str, says: str
) -> None:
    """No GPU, no traceback: the API tells why, and the moment the driver works it is used."""
    fake_node.scenario.fail_init(code)
    fake_node.scenario.save()
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(lambda frame: frame.trouble is not None)
        assert frame.trouble is not None
        assert frame.trouble.kind == kind
        assert says in frame.trouble.action
        assert frame.gpus == []
        answers(agent)
        fake_node.scenario.heal().save()
        agent.frame_where(all_fresh())


def test_no_library_is_a_sentence(tmp_path: Path) -> None:
    """A machine without any driver still has an agent that says so."""
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    with running_agent({**env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(lambda frame: frame.trouble is not None)
        assert frame.trouble is not None
        assert frame.trouble.kind == "library_missing"
        assert "Install the NVIDIA driver" in frame.trouble.action
        answers(agent)


@pytest.mark.parametrize("count", [0, 16])
def test_any_number_of_gpus(fake_node: FakeNode, tmp_path: Path, count: int) -> None:
    """None at all, with a sentence; sixteen, all fresh."""
    fake_node.become(Scenario.of("a100", count))
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(lambda frame: frame.agent is not None and frame.agent.samples > 1)
        assert len(frame.gpus) == count
        assert (frame.trouble is not None) == (count == 0)
        if frame.trouble is not None:
            assert "lspci" in frame.trouble.action


def test_an_old_driver_serves(fake_nvml: Builder, fake_node: FakeNode, tmp_path: Path) -> None:
    """Driver 470, without the newer symbols: GPUs fresh, what is missing says so."""
    fake_node.library = fake_nvml(DRIVER_470_MISSING)
    fake_node.become(Scenario.of("a100", 2))
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(all_fresh())
        assert frame.gpus[0].memory_used_bytes is not None
        assert frame.gpus[0].absent["temperature_margin_c"] is Absence.DRIVER_TOO_OLD


def test_mig_is_shown(fake_node: FakeNode, tmp_path: Path) -> None:
    """A GPU in MIG mode shows its instances."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).mig(3, 2, 2)
    fake_node.become(scenario)
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(all_fresh())
        assert frame.gpus[0].mig is not None
        assert len(frame.gpus[0].mig.instances) == 3


def test_what_the_configuration_leaves_out_says_so(fake_node: FakeNode, tmp_path: Path) -> None:
    """A collector that is switched off leaves its fields absent, with that reason, and xids have none: they are watched."""
    env = {**fake_node.env, **QUICK, "GPUWATCH_COLLECTORS_DISABLE": "codecs"}
    with running_agent(env, log=tmp_path / "log") as agent:
        gpu = agent.frame_where(all_fresh()).gpus[0]
        assert gpu.encoder_pct is None
        assert gpu.absent["encoder_pct"] is Absence.LEFT_OUT
        assert gpu.xids == []
        assert "xids" not in gpu.absent


def test_processes_the_host_does_not_show_are_listed_all_the_same(fake_node: FakeNode, tmp_path: Path) -> None:
    """In a container the driver's PIDs may be nobody here: PID and memory stand, the rest is unknown."""
    scenario = Scenario.of("h100", 1)
    scenario.gpu(0).processes.clear()
    scenario.gpu(0).process(2**22 + 17, 5 << 30, 50).process(os.getpid(), 1 << 30, 3)
    fake_node.become(scenario)
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "log") as agent:
        frame = agent.frame_where(lambda frame: bool(frame.gpus) and len(frame.gpus[0].processes or ()) == 2)
        hidden, own = sorted(frame.gpus[0].processes or (), key=lambda process: process.visible)
        assert (hidden.visible, hidden.user, hidden.command, hidden.memory_bytes) == (False, None, None, 5 << 30)
        assert own.visible
        assert "pytest" in str(own.command)


def test_two_thousand_processes_are_carried(fake_node: FakeNode, tmp_path: Path) -> None:
    """A crowded node: all are listed, and the samples keep coming."""
    scenario = Scenario.of("h100", 8)
    for number in range(2000):
        scenario.gpu(number % 8).process(3_000_000 + number, 1 << 20, 0)
    fake_node.become(scenario)
    with running_agent(fake_node.env, log=tmp_path / "log") as agent:
        frame = agent.frame_where(lambda frame: sum(len(gpu.processes or ()) for gpu in frame.gpus) == 2000)
        assert all_fresh()(frame)
        agent.frame_where(lambda later: later.taken_at > frame.taken_at + 2 and all_fresh()(later))


def test_sigterm_ends_it_within_two_seconds_with_a_reader_on_the_stream(agent: RunningAgent) -> None:
    """A stop is not held up by a stream, and leaves no process behind."""
    (sampler,) = agent.samplers()
    with agent.client.stream("GET", "/v1/stream") as stream:
        lines = stream.iter_lines()
        next(lines)
        status, seconds = agent.end()
    assert status == 0
    assert seconds < 2
    assert ended(sampler)


def test_sigkill_leaves_no_orphan_and_a_new_agent_starts(
    agent: RunningAgent, fake_node: FakeNode, tmp_path: Path
) -> None:
    """Killed without a chance to say goodbye: the sampler sees its lifeline close and goes."""
    (sampler,) = agent.samplers()
    agent.end(signal.SIGKILL)
    assert ended(sampler)
    with running_agent({**fake_node.env, **QUICK}, log=tmp_path / "second") as second:
        second.frame_where(all_fresh())


def test_a_port_in_use_is_one_sentence(agent: RunningAgent, fake_node: FakeNode) -> None:
    """The second agent on a port says who is there and what to do, and ends with 3."""
    address = agent.url.removeprefix("http://")
    done = subprocess.run(
        [sys.executable, "-m", "gpuwatch", "agent", "--listen", address],
        env=fake_node.env,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 3
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_home_and_a_full_disk_are_no_matter(fake_node: FakeNode, tmp_path: Path) -> None:
    """The agent writes nothing: no home, no room, no difference."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    env = {**fake_node.env, **QUICK, "HOME": str(home), "XDG_CONFIG_HOME": "/dev/full", "TMPDIR": "/dev/full"}
    with running_agent(env, log=tmp_path / "log") as agent:
        agent.frame_where(all_fresh())
        answers(agent)
    assert list(home.iterdir()) == []


def test_two_hundred_readers_at_once_are_served(agent: RunningAgent) -> None:
    """A crowd on the snapshot gets one answer each."""
    import asyncio

    async def crowd() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=agent.url, limits=limits, timeout=20) as client:
            replies = await asyncio.gather(*(client.get("/v1/snapshot") for _ in range(200)))
        return [reply.status_code for reply in replies]

    assert asyncio.run(crowd()) == [200] * 200


def test_a_reader_that_never_reads_holds_nobody_up(agent: RunningAgent) -> None:
    """A stream whose client stops reading is the client's loss: others get every frame."""
    import socket

    host, _, port = agent.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = agent.frame_where(all_fresh())
        frame = agent.frame_where(lambda frame: frame.taken_at > first.taken_at + 2)
        assert all_fresh()(frame)


def ended(pid: int) -> bool:
    """Waits for a process that is not our child: its descriptor becomes readable when it has ended."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    readable, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    return bool(readable)


def test_frames_decode_to_the_contract(agent: RunningAgent) -> None:
    """What goes over the wire is what the contract names, schema 1, with the agent's own cost."""
    document = agent.get("/v1/snapshot").json()
    for name in [
        "schema",
        "node",
        "taken_at",
        "simulated",
        "driver_version",
        "cuda_version",
        "host",
        "gpus",
        "findings",
    ]:
        assert name in document
    assert document["schema"] == 1
    assert isinstance(agent.frame_where(all_fresh()), Frame)
    assert document["agent"]["collectors"]
