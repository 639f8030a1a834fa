"""What the agent makes of its sampler's frames, for a process that samples by itself."""

from collections import deque
from collections.abc import Callable

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.hardware.base import Hardware, XidEvent
from gpuwatch_agent.hardware.host import node_name
from gpuwatch_agent.history import History
from gpuwatch_agent.ledger import Ledger
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.topology import Topology


class Judge:
    """Remembers GPUs that vanished, counts Xids, keeps the history, and finds what is wrong."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        topology: Callable[[], Topology | None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._ledger = Ledger(clock, wall_clock)
        self._history = History(seconds=config.history.seconds)
        self._xids: deque[XidEvent] = deque()
        self.engine = Engine(config, self._history, topology=topology)

    def watch_xids(self, hardware: Hardware) -> None:
        """Count Xids from now on; `hardware` is open."""
        self._ledger.watch_xids(hardware.watch_xids(self._xids.append))  # appending is safe from any thread

    def judge(self, frame: Frame) -> Frame:
        """The frame with what is known beyond it, and with its findings."""
        self._take_xids()
        return self._weigh(self._ledger.complete(frame))

    def judge_blindly(self, trouble: Trouble) -> Frame:
        """What was last seen, as old as it is, where nothing can be read any more."""
        self._take_xids()
        return self._weigh(self._ledger.aged(trouble, node_name()))

    def _take_xids(self) -> None:
        while self._xids:
            self._ledger.note_xid(self._xids.popleft())

    def _weigh(self, complete: Frame) -> Frame:
        now = self._clock()
        self._history.append(complete, now)
        return self.engine.judge(complete, now)
