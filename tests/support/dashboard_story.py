"""A simulated machine's last minutes as the dashboard gets them: frames, findings and wiring, the same every time."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import structs

from gpuwatch.tui.app import GpuwatchApp
from gpuwatch.tui.feeds.recorded import RecordedFeed
from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware
from gpuwatch_agent.history import History
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.errors import GpuwatchError
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.frame import Cost, Frame, Trouble
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.topology import Topology
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.topology import build_topology

NOON = 1_795_176_000.0
_GIB = 1024**3
_HOST = Host(
    uptime_s=12 * 86400 + 4 * 3600,
    cpu_count=112,
    cpu_pct=9.2,
    load_1m=14.2,
    load_5m=13.8,
    load_15m=13.1,
    memory_total_bytes=2048 * _GIB,
    memory_used_bytes=212 * _GIB,
    memory_available_bytes=1830 * _GIB,
    disk_read_bytes_per_s=0.0,
    disk_write_bytes_per_s=1e8,
    network_rx_bytes_per_s=3e8,
    network_tx_bytes_per_s=2.1e9,
)


class Story(NamedTuple):
    """What happened, in the order it happened."""

    frames: Sequence[Frame]
    events: Sequence[FindingEvent]
    topology: Topology

    def feed(self) -> RecordedFeed:
        """As the dashboard takes it in, looking like this machine's own."""
        return RecordedFeed(self.frames, events=self.events, topology=self.topology, kind="embedded")

    def app(self) -> GpuwatchApp:
        """A dashboard that shows the last moment; its clock stands still there."""
        end = self.frames[-1].taken_at
        return GpuwatchApp(self.feed(), wall_clock=lambda: end)


@lru_cache(maxsize=16)
def story(spec: str, seconds: int = 120) -> Story:
    """The machine of that specification over so many seconds, a frame each."""
    now = NOON

    def clock() -> float:
        return now

    config = Config()
    hardware = SimulatedHardware(spec, clock=clock)
    ledger = Ledger(clock, clock)
    ledger.watch_xids(hardware.watch_xids(ledger.note_xid))
    history = History()
    rig = Rig(hardware, config, clock=clock, wall_clock=clock)
    frames: list[Frame] = []
    try:
        rig.open()
    except GpuwatchError as error:
        trouble = Trouble(kind=error.kind, message=error.message, action=error.action)
        return Story(
            [structs.replace(ledger.aged(trouble, "node07", simulated=True), host=_HOST)],
            [],
            build_topology((), {}, node="node07", taken_at=now, simulated=True),
        )

    def wiring() -> Topology:
        last = frames[-1]
        return build_topology(
            last.gpus, rig.placements(), node="node07", taken_at=last.taken_at, simulated=last.simulated
        )

    engine = Engine(config, history, topology=lambda: wiring() if frames else None)
    try:
        for _ in range(seconds):
            cost = Cost(
                interval_s=1.0,
                samples=len(frames) + 1,
                cpu_pct=0.4,
                memory_bytes=46 * 1024**2,
                sampler_cpu_pct=0.5,
                sampler_memory_bytes=15 * 1024**2,
            )
            frame = structs.replace(ledger.complete(rig.read()), host=_HOST, node="node07", agent=cost)
            history.append(frame, now)
            frames.append(engine.judge(frame, now))
            now += 1.0
        topology = wiring()
    finally:
        rig.close()
    return Story(frames, list(engine.events), topology)
