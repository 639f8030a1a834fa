"""The node agent: a sampler in charge, a frame once a tick, and the API that gives it out."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from gpuwatch_agent.config import Config, NotifySection
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.hardware.base import Placement
from gpuwatch_agent.hardware.host import node_name
from gpuwatch_agent.history import History
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Cost, Frame
from gpuwatch_agent.model.probe import ProbeOutcome
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.own_cost import OwnCost
from gpuwatch_agent.sampling.supervisor import Supervisor
from gpuwatch_agent.sampling.wire import Message, Placed, Sampled, XidSeen, XidWatched
from gpuwatch_agent.topology import build_topology

if TYPE_CHECKING:
    from gpuwatch_agent.notify.notifier import Notifier


_LOOK_FOR_PROBES_S = 5.0


class Agent:
    """Everything but the API; the dashboard embeds one of these, too."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        notifier: "Notifier | None" = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._node = node_name()
        self._simulated = bool(config.hardware.simulate)
        self._ledger = Ledger(clock, wall_clock)
        self._placements: dict[int, Placement] = {}
        # The sampler needs no addresses of ours.
        self._supervisor = Supervisor(structs.replace(config, notify=NotifySection()), self._on_message, clock)
        self._notifier = notifier
        self._own_cost = OwnCost(clock)
        self._published_at: float | None = None
        self._probes: list[ProbeOutcome] = []
        self.hub = FrameHub()
        self.history = History(seconds=config.history.seconds)
        self.findings = Engine(
            config,
            self.history,
            on_event=notifier.note if notifier is not None else _nobody,
            topology=self.topology,
        )

    async def run(self) -> None:
        """Sample and publish until cancelled."""
        supervising = asyncio.create_task(self._supervisor.run())
        try:
            await asyncio.gather(supervising, self._age_frames(), self._follow_probes())
        finally:
            await self._supervisor.stop()
            supervising.cancel()
            self._own_cost.stop()

    def set_interval(self, interval_s: float) -> None:
        """Sample at another pace; history and findings go on."""
        sampling = structs.replace(self._config.sampling, interval_s=interval_s)
        self._config = structs.replace(self._config, sampling=sampling)
        self._supervisor.change(structs.replace(self._config, notify=NotifySection()))

    async def _follow_probes(self) -> None:
        """Take up what probes have found on this machine; a simulated one has none."""
        if self._simulated:
            return
        from gpuwatch_agent.probes.store import open_store

        store = open_store(self._config.probes, os.environ)
        seen: float | None = None
        while True:
            # On a thread: a home folder may lie on a network that is gone.
            changed = await asyncio.to_thread(store.changed_at)
            if changed != seen:
                self._probes = await asyncio.to_thread(store.last_outcomes)
                seen = changed
            await asyncio.sleep(_LOOK_FOR_PROBES_S)

    def topology(self) -> Topology | None:
        """The wiring as of the last frame."""
        frame = self.hub.latest
        if frame is None:
            return None
        return build_topology(
            frame.gpus, self._placements, node=frame.node, taken_at=frame.taken_at, simulated=frame.simulated
        )

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Sampled):
            self._publish(self._ledger.complete(message.frame))
        elif isinstance(message, Placed):
            self._placements = {**self._placements, **message.placements}
        elif isinstance(message, XidSeen):
            self._ledger.note_xid(message.event)
        elif isinstance(message, XidWatched):
            self._ledger.watch_xids(message.problem)

    async def _age_frames(self) -> None:
        """Where no sample comes, say so once a tick: readers must not take old values for new."""
        while True:
            patience = max(self._config.sampling.stale_after_s, 2 * self._config.sampling.interval_s)
            await asyncio.sleep(max(self._config.sampling.interval_s, 0.25))
            trouble = self._supervisor.trouble
            silent_for = self._clock() - self._supervisor.heard_at
            never = self._published_at is None
            if (trouble is not None and (never or silent_for > 0.25)) or (silent_for > patience and not never):
                self._publish(self._ledger.aged(trouble, self._node, simulated=self._simulated))

    def _publish(self, frame: Frame) -> None:
        self._published_at = self._clock()
        frame = structs.replace(frame, agent=self._cost(frame.agent), probes=self._probes)
        self.history.append(frame, self._published_at)
        judged = self.findings.judge(frame, self._published_at)
        # Once more with its scores: within a second the last frame is the one that is kept.
        self.history.append(judged, self._published_at)
        if self._notifier is not None:
            self._notifier.tick(judged)
        self.hub.publish(judged)

    def _cost(self, sampled: Cost | None) -> Cost:
        usage = self._own_cost.usage(self._supervisor.pid)
        base = sampled if sampled is not None else Cost(interval_s=self._config.sampling.interval_s, samples=0)
        return structs.replace(
            base,
            cpu_pct=usage.agent_cpu_pct,
            memory_bytes=usage.agent_memory_bytes,
            sampler_cpu_pct=usage.sampler_cpu_pct,
            sampler_memory_bytes=usage.sampler_memory_bytes,
            sampler_restarts=self._supervisor.restarts,
            notifications=self._notifier.accounts() if self._notifier is not None else [],
        )


def _nobody(_event: FindingEvent) -> None:
    """Who listens to findings where nobody is to be told."""


def _notifier(config: Config) -> "Notifier | None":
    """Who tells people; an agent that tells nobody does not load it."""
    if not (config.notify.urls or config.notify.webhook):
        return None
    from gpuwatch_agent.notify.notifier import make_notifier

    return make_notifier(config.notify, time.monotonic)


Mounts = Callable[[FrameHub], Sequence[tuple[str, Any]]]


def run_agent(config: Config, *, mounts: Mounts = lambda _: ()) -> int:
    """Run agent and API until a signal comes; gives the exit status. `mounts` adds routes that are read from the hub."""
    from gpuwatch_agent.api.app import create_app
    from gpuwatch_agent.api.server import Server
    from gpuwatch_agent.api.settings import settings_from

    settings = settings_from(config.agent, interval_s=config.sampling.interval_s)
    notifier = _notifier(config)

    async def serve() -> None:
        agent = Agent(config, notifier=notifier)
        app = create_app(
            agent.hub,
            agent.history,
            agent.topology,
            settings,
            mounts(agent.hub),
            finding_events=lambda: agent.findings.events,
        )
        server = Server(app, settings)
        server.bind()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if notifier is not None:
            notifier.start()
        running = asyncio.create_task(agent.run())
        running.add_done_callback(lambda _: stop.set())
        print(f"gpuwatch agent: listening on {server.url}", file=sys.stderr, flush=True)  # noqa: T201  # for who started it
        try:
            await server.serve(stop)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    try:
        asyncio.run(serve())
    finally:
        if notifier is not None:
            notifier.end()
    return os.EX_OK
