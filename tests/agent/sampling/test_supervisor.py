"""Samplers that hang, fall silent or can't start, each as a real process on the fake driver."""

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import msgspec
import pytest

from fake_nvml.fixtures import FakeNode
from gpuwatch_agent.sampling.wire import Sampled, XidWatched
from support.running_agent import all_fresh, state_of
from support.supervised import (
    QUICK,
    SupervisedSampler,
    hurry,
    meet,
    open_files,
    own_children,
    samplers_alive,
    supervised,
)


@pytest.fixture(autouse=True)
def driver(fake_node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    meet(fake_node, monkeypatch)
    hurry(monkeypatch)
    with own_children():
        yield fake_node


def test_what_a_failed_test_leaves_behind_is_nobody_elses() -> None:
    """Its processes are gone when it is over, and those from before it are neither counted nor touched."""
    with subprocess.Popen(["sleep", "60"]) as before:
        with own_children():
            left = subprocess.Popen(["sleep", "60"])
            assert samplers_alive() == {left.pid}
        assert left.poll() is not None
        assert before.poll() is None
        before.kill()


def test_a_gpu_that_hung_in_the_old_process_only_is_fresh_in_its_replacement(driver: FakeNode) -> None:
    """The candidate takes over with its first sample, all are fresh, and the old process goes."""

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.hang("nvmlDeviceGetPerformanceState", gpu=5).save()
            await one.frame_where(state_of(5, "stale"))
            driver.scenario.heal().save()  # the hung thread stays hung: only a new process is free of it
            new = await one.pid_in_charge(other_than=old)
            await one.frame_where(all_fresh())
            await one.ended(old)
            assert one.supervisor.restarts == 1
            assert samplers_alive() == {new}

    asyncio.run(story())
    assert samplers_alive() == set()


def test_a_gpu_that_hangs_again_costs_the_others_no_frame(driver: FakeNode) -> None:
    """Each new process hangs on the same GPU: seven stay fresh throughout, and the tries come ever more rarely."""

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            driver.scenario.hang("nvmlDeviceGetPerformanceState", gpu=5).save()
            await one.frame_where(state_of(5, "stale"))
            first_hung = len(one.frames)
            pids = [await one.pid_in_charge()]
            taken_over: list[float] = [one.frames[-1].taken_at]
            for _ in range(3):
                pids.append(await one.pid_in_charge(other_than=pids[-1]))
                taken_over.append(one.frames[-1].taken_at)
            frames = one.frames[first_hung:]
            assert all(all_fresh(5)(frame) for frame in frames)
            gaps = [later.taken_at - frame.taken_at for frame, later in itertools.pairwise(frames)]
            assert max(gaps) < 2.0, "a candidate's start must not hold the old one's frames up"
            waits = [later - earlier for earlier, later in itertools.pairwise(taken_over)]
            assert waits[2] > waits[1]

    asyncio.run(story())


def test_a_candidate_that_cannot_open_the_driver_leaves_the_old_one_its_post(
    driver: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new process gets into the driver any more: the old one reads seven GPUs on."""
    hurry(monkeypatch, {"_CANDIDATE_S": 1.0})

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.fail_init(9).hang("nvmlDeviceGetPerformanceState", gpu=5).save()
            await one.until(lambda: len(samplers_alive()) == 2)
            await one.until(lambda: samplers_alive() == {old})
            await one.frame_where(state_of(5, "stale"))
            assert one.supervisor.pid == old
            assert one.supervisor.restarts == 0
            assert one.supervisor.trouble is None

    asyncio.run(story())


def test_a_sampler_that_says_nothing_is_replaced(driver: FakeNode) -> None:
    """Stopped dead: after some seconds another takes over, and the silent one is sent away by force."""

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            os.kill(old, signal.SIGSTOP)
            await one.pid_in_charge(other_than=old)
            await one.frame_where(all_fresh())
            await one.ended(old)
            assert one.supervisor.trouble is None

    asyncio.run(story())


def test_what_a_candidate_said_of_its_xid_watch_counts_once_it_is_in_charge(driver: FakeNode) -> None:
    """The old sampler could not watch for Xids, its replacement can: that was said before its first sample."""

    async def story() -> None:
        driver.scenario.fail("nvmlEventSetCreate", 999).save()
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.heal().hang("nvmlDeviceGetPerformanceState", gpu=5).save()
            await one.pid_in_charge(other_than=old)
            await one.until(lambda: len(watches(one)) == 2)
            assert watches(one)[0] is not None
            assert watches(one)[1] is None

    asyncio.run(story())


def watches(one: SupervisedSampler) -> list[str | None]:
    return [message.problem for message in one.messages if isinstance(message, XidWatched)]


def test_a_candidate_that_takes_over_from_a_dead_sampler_is_the_only_one(
    driver: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old sampler dies while its replacement starts: no third process is left running beside them."""
    hurry(monkeypatch, {"_BACKOFF_S": (3.0,)})

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.hang("nvmlDeviceGetPerformanceState", gpu=5).save()
            await one.until(lambda: len(samplers_alive()) == 2)
            driver.scenario.heal().save()
            os.kill(old, signal.SIGKILL)
            new = await one.pid_in_charge(other_than=old)
            heard = len(one.frames)
            await one.until(lambda: len(one.frames) > heard + 40)  # past the back-off of the one that died
            assert samplers_alive() == {new}
            assert one.supervisor.pid == new

    asyncio.run(story())


def test_stop_during_a_replacement_leaves_no_process(driver: FakeNode) -> None:
    """Old sampler stopped dead, candidate half started: both are gone soon after `stop`."""

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.hang("nvmlInit_v2").hang("nvmlInitWithFlags").save()
            os.kill(old, signal.SIGSTOP)
            await one.until(lambda: len(samplers_alive()) == 2)
        await one.all_ended(within_s=3)

    asyncio.run(story())


def test_stop_while_a_silent_one_is_sent_away_leaves_no_process(
    driver: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old sampler is deaf to all requests, and the agent ends before its patience with it does."""
    monkeypatch.setattr("gpuwatch_agent.sampling.child._ASK_S", 60.0)

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            os.kill(old, signal.SIGSTOP)
            await one.pid_in_charge(other_than=old)
        await one.all_ended(within_s=3)

    asyncio.run(story())


def test_a_machine_that_lets_no_process_start_is_waited_for(driver: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of processes or descriptors for a while: said in words, tried again, and well once there is room."""
    real = asyncio.create_subprocess_exec
    refusals = iter([True, True])

    async def refuse(*arguments: object, **options: object) -> asyncio.subprocess.Process:
        if next(refusals, False):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await real(*arguments, **options)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)

    async def story() -> None:
        async with supervised() as one:
            await one.until(lambda: one.supervisor.trouble is not None)
            assert one.supervisor.trouble is not None
            assert "Resource temporarily unavailable" in one.supervisor.trouble.message
            await one.frame_where(all_fresh())

    asyncio.run(story())


def test_twenty_restarts_leave_nothing_behind(driver: FakeNode) -> None:
    """A sampler that is killed again and again costs the agent no descriptor, no thread and no zombie."""

    async def story() -> None:
        async with supervised() as one:
            last = await restarted(one, None)
            gc.collect()
            files, threads = open_files(), threading.active_count()
            for _ in range(20):
                last = await restarted(one, last)
            await one.until(lambda: samplers_alive() == {last})
            gc.collect()
            await one.until(lambda: open_files() <= files, within_s=5)
            assert threading.active_count() <= threads

    driver.scenario.gpus = driver.scenario.gpus[:1]
    driver.scenario.save()
    asyncio.run(story())


async def restarted(one: SupervisedSampler, killed: int | None) -> int:
    """Kill a sampler and wait for the first sample of the next."""
    if killed is not None:
        os.kill(killed, signal.SIGKILL)
    pid = await one.pid_in_charge(other_than=killed)
    heard = len(one.messages)
    await one.until(lambda: any(isinstance(message, Sampled) for message in one.messages[heard:]))
    return pid


@pytest.mark.parametrize("call", ["nvmlDeviceRegisterEvents", "nvmlEventSetCreate"])
def test_a_driver_that_hangs_in_registering_for_events_is_read_all_the_same(driver: FakeNode, call: str) -> None:
    """Frames come, and that nobody watches for Xids is said; the end is as quick as ever."""

    async def story() -> None:
        driver.scenario.hang(call).save()
        async with supervised() as one:
            await one.frame_where(all_fresh())
            await one.until(lambda: bool(watches(one)))
            assert watches(one)[0] is not None
        assert samplers_alive() == set()

    asyncio.run(story())


def test_a_driver_that_hangs_in_letting_go_ends_with_its_process(driver: FakeNode) -> None:
    """A sampler that leaves does not wait for the driver's leave."""

    async def story() -> None:
        driver.scenario.hang("nvmlShutdown").fail("nvmlEventSetCreate", 999).save()
        async with supervised() as one:
            await one.frame_where(all_fresh())
            pid = await one.pid_in_charge()
            os.kill(pid, signal.SIGTERM)
            await one.pid_in_charge(other_than=pid)
            await one.ended(pid)
            assert one.supervisor.restarts == 1

    asyncio.run(story())


def test_profiling_is_never_done_from_two_threads_at_once(driver: FakeNode) -> None:
    """Eight GPUs at ten readings a second whose deadlines run out in the profiler: one thread at a time is in there."""

    async def story() -> None:
        driver.scenario.crash_on_shared_gpm().delay("nvmlGpmSampleGet", 80).save()
        async with supervised(msgspec.structs.replace(QUICK, deadline_s=0.05)) as one:
            await one.frame_where(lambda frame: any(gpu.sm_activity_pct is not None for gpu in frame.gpus))
            heard = len(one.frames)
            await one.until(lambda: len(one.frames) > heard + 15)
            assert one.supervisor.restarts == 0
            assert one.supervisor.trouble is None

    asyncio.run(story())


def test_a_lost_gpu_is_looked_for_from_a_fresh_process(driver: FakeNode) -> None:
    """What a reset has cured may show only to who opens the driver anew: that is tried now and then, at nobody's cost."""

    async def story() -> None:
        async with supervised() as one:
            await one.frame_where(all_fresh())
            old = await one.pid_in_charge()
            driver.scenario.lose(6).save()
            await one.frame_where(state_of(6, "lost"))
            lost_at = len(one.frames)
            new = await one.pid_in_charge(other_than=old)
            driver.scenario.heal(gpu=6).save()
            await one.frame_where(all_fresh())
            assert new == one.supervisor.pid
            assert all(len([gpu for gpu in frame.gpus if gpu.state == "ok"]) >= 7 for frame in one.frames[lost_at:])

    asyncio.run(story())
