"""What is published once a tick: everything the node says at one moment, and what gpuwatch makes of it."""

from msgspec import Struct

from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.probe import ProbeOutcome

SCHEMA = 1


NO_GPUS = "no_gpus"
"""The kind of trouble where the driver is there and lists nothing."""


class Trouble(Struct, frozen=True, kw_only=True, gc=False):
    """What keeps gpuwatch from seeing, in words, and what to do about it."""

    kind: str
    message: str
    action: str


class CollectorCost(Struct, frozen=True, kw_only=True, gc=False):
    """What one collector costs and how it fares, over all GPUs."""

    name: str
    tier: str
    runs: int
    failures: int
    missed_deadlines: int
    last_ms: float | None = None
    mean_ms: float | None = None
    last_error: str | None = None
    succeeded: bool | None = None
    """Whether the last round of readings, over all GPUs, had no failure; null before the first."""
    last_success_at: float | None = None
    """When it last had none (unix seconds)."""


class TargetAccount(Struct, frozen=True, kw_only=True, gc=False):
    """How messages to one receiver of notifications fare."""

    name: str
    """Without anything that would let others write to it."""
    sent: int = 0
    failed: int = 0
    """Given up, after an hour of trying or because trying again can't help."""
    retried: int = 0
    dropped: int = 0
    """Pushed out by newer ones, while the receiver was gone."""
    waiting: int = 0
    last_sent_at: float | None = None
    last_error: str | None = None
    """Why the last try failed; null once one has worked."""


class Cost(Struct, frozen=True, kw_only=True):
    """gpuwatch's account of itself."""

    interval_s: float
    samples: int
    sample_ms: float | None = None
    """Processor time of the last sample, over all GPUs."""
    cpu_pct: float | None = None
    memory_bytes: int | None = None
    sampler_cpu_pct: float | None = None
    sampler_memory_bytes: int | None = None
    sampler_restarts: int = 0
    missed_deadlines: int = 0
    collectors: list[CollectorCost] = []
    notifications: list[TargetAccount] = []


class Frame(Struct, frozen=True, kw_only=True):
    """One moment of one node; the object that `status --json` and `GET /v1/snapshot` give."""

    schema: int = SCHEMA
    node: str
    taken_at: float
    simulated: bool
    driver_version: str | None = None
    cuda_version: str | None = None
    host: Host | None = None
    gpus: list[Gpu]
    findings: list[Finding] = []
    probes: list[ProbeOutcome] = []
    """The last outcome of each probe that has been run here."""
    trouble: Trouble | None = None
    agent: Cost | None = None
