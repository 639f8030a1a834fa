"""From load to work: how much each GPU of a job computes, waits and sends in one step.

Ranks in lockstep go at the pace of the slowest. Those that wait spin inside a collective: their utilisation stays at
100 % while their power, memory traffic and tensor activity fall, so it is the rank that waits least that is late.
"""

import math
import random

from gpuwatch_agent.hardware.simulated.conditions import Conditions
from gpuwatch_agent.hardware.simulated.jobs import Job

# What a program next to it costs a job beyond the share of SMs that the other takes: caches and memory traffic.
_NEIGHBOUR_COST = 0.9
_SPINNING_SM_PCT = 0.13


class Demand:
    """What one GPU is asked to do in one step, all jobs together."""

    __slots__ = (
        "busy", "dram", "heat", "memory_utilization", "nvlink", "occupancy", "pcie", "sm", "spin", "tensor", "utilization"
    )  # fmt: skip

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Back to nothing, before the jobs of the next step add theirs."""
        self.utilization = 0.0
        self.busy = 0.0
        self.heat = 0.0
        self.spin = 0.0
        self.sm = 0.0
        self.occupancy = 0.0
        self.tensor = 0.0
        self.dram = 0.0
        self.memory_utilization = 0.0
        self.nvlink = 0.0
        self.pcie = 0.0


class Speed:
    """How fast one GPU can go at present, against its own best."""

    __slots__ = ("clock", "nvlink", "pcie")

    def __init__(self) -> None:
        self.clock = 1.0
        self.nvlink = 1.0
        self.pcie = 1.0


class RunningJob:
    """A job with its wandering load, its pace now and what it has got done."""

    __slots__ = (
        "_bursts_until",
        "_drift",
        "_phase",
        "_stumble",
        "chance",
        "job",
        "load",
        "pace",
        "tokens",
        "utilization",
    )

    def __init__(self, job: Job, chance: random.Random) -> None:
        self.job = job
        self.chance = chance
        self._phase = chance.random() * 0.8
        self._drift = 0.0
        self._stumble = [0.0] * len(job.gpus)
        self._bursts_until = -1.0
        self.load = job.load
        self.pace = 1.0
        self.tokens = 0.0
        self.utilization = [0.0] * len(job.gpus)

    @property
    def tokens_per_s(self) -> float:
        return self.job.tokens_per_s * self.pace * min(1.0, self.load / self.job.load)

    def _next_load(self, at: float) -> float:
        """A slow wave, a slower one, noise that remembers, and now and then a burst of new prompts."""
        job = self.job
        chance = self.chance.random
        self._drift = 0.94 * self._drift + 0.6 * job.noise * (chance() - 0.5)
        if chance() < 0.012:
            self._bursts_until = at + 1.0 + 3.0 * chance()
        if job.pause_s and (at + self._phase * job.pause_every_s) % job.pause_every_s < job.pause_s:
            return 0.0
        wave = 0.65 * math.sin(math.tau * (at / job.wave_s + self._phase))
        day = 0.35 * math.sin(math.tau * (at / 86_400.0 + self._phase))
        burst = 0.06 if at < self._bursts_until else 0.0
        return min(1.0, max(0.02, job.load + job.swing * (wave + day) + self._drift + burst))

    def step(self, at: float, speeds: list[Speed], conditions: list[Conditions], demands: list[Demand]) -> None:
        """Add this step's work to the demands of the job's GPUs."""
        job = self.job
        self.load = self._next_load(at)
        members = [conditions[gpu] for gpu in job.gpus]
        if any(member.idle for member in members):
            self.load = self.pace = 0.0
            self.utilization = [0.0] * len(job.gpus)
            return
        lockstep = job.split in {"tensor", "data"}
        if lockstep and any(member.stuck or member.lost for member in members):
            self._hang(demands)
            return
        times = self._times(speeds, members)
        if lockstep:
            self._in_lockstep(times, speeds, demands)
        elif job.split == "layer":
            self._by_turns(times, demands)
        else:
            self._alone(times[0], demands)

    def _times(self, speeds: list[Speed], members: list[Conditions]) -> list[float]:
        """How long each rank computes for one step, against its best."""
        job = self.job
        by_clock = job.compute_share
        chance = self.chance.random
        times = []
        for rank, (gpu, member) in enumerate(zip(job.gpus, members, strict=True)):
            stumble = 0.9 * self._stumble[rank] + 0.006 * chance()
            self._stumble[rank] = stumble
            own = (by_clock / speeds[gpu].clock + 1.0 - by_clock) * (1.0 + member.slowness + stumble)
            times.append(own / (1.0 - _NEIGHBOUR_COST * member.foreign))
        return times

    def _hang(self, demands: list[Demand]) -> None:
        self.load = self.pace = 0.0
        for rank, gpu in enumerate(self.job.gpus):
            demand = demands[gpu]
            demand.utilization = 1.0
            demand.spin += 0.3
            demand.sm += _SPINNING_SM_PCT
            demand.occupancy += 0.02
            self.utilization[rank] = 1.0

    def _in_lockstep(self, times: list[float], speeds: list[Speed], demands: list[Demand]) -> None:
        job = self.job
        links = min((speeds[gpu].pcie if job.comm_over_pcie else speeds[gpu].nvlink) for gpu in job.gpus)
        computing = 1.0 - job.comm_share
        step = computing * max(times) + job.comm_share / max(0.02, links)
        self.pace = 1.0 / step
        duty = min(1.0, self.load / (job.saturates_at * self.pace)) if self.load > 0.0 else 0.0
        for rank, gpu in enumerate(job.gpus):
            busy = computing * times[rank] / step
            self._add(demands[gpu], duty, busy, 1.0 - busy, 1.0)
            self.utilization[rank] = duty

    def _by_turns(self, times: list[float], demands: list[Demand]) -> None:
        job = self.job
        parts = [share * own for share, own in zip(job.shares, times, strict=True)]
        step = sum(parts)
        self.pace = 1.0 / step
        duty = min(1.0, self.load / (job.saturates_at * self.pace))
        for rank, gpu in enumerate(job.gpus):
            turn = parts[rank] / step
            # Memory traffic goes by turns as well, so it follows the part of the layers.
            self._add(demands[gpu], duty, turn, 0.0, turn)
            self.utilization[rank] = duty * turn

    def _alone(self, own: float, demands: list[Demand]) -> None:
        job = self.job
        self.pace = 1.0 / own
        part = job.shares[0] if job.shares else 1.0
        busy = min(1.0, self.load * own) * part
        self._add(demands[job.gpus[0]], busy, 1.0, 0.0, 1.0)
        self.utilization[0] = busy

    def _add(self, demand: Demand, duty: float, busy: float, wait: float, memory: float) -> None:
        """`duty` is the part of the time with work at hand; of it `busy` is computed and `wait` spun away."""
        job = self.job
        intensity = duty * (0.3 + 0.7 * self.load) if job.split in {"tensor", "data"} else duty
        work = intensity * busy
        traffic = intensity * memory * self.pace
        demand.utilization += duty * (busy + wait)
        demand.busy += duty * busy
        demand.heat += work * job.heat
        demand.spin += duty * wait
        demand.sm += work * job.sm_activity + duty * wait * _SPINNING_SM_PCT
        demand.occupancy += work * job.occupancy + duty * wait * 0.04
        demand.tensor += work * job.tensor
        demand.dram += traffic * job.dram
        demand.memory_utilization += traffic * job.memory_utilization
        demand.nvlink += intensity * self.pace * job.nvlink_bytes_per_s
        demand.pcie += intensity * self.pace * job.pcie_bytes_per_s
