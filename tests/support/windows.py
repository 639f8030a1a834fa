"""Frames fed second by second, as the agent feeds them, and the findings that come of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.engine import Engine
from gpuwatch_agent.history import History
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.topology import Topology

START = 1_795_176_000.0
Change = Callable[[Gpu, int], Gpu]


class Story:
    """A node over time: `passes` seconds, each GPU as `change` makes it, and what is said at the end."""

    def __init__(
        self,
        gpus: Sequence[Gpu],
        detectors: Sequence[Detector[Any]],
        findings: Mapping[str, dict[str, Any]] | None = None,
        groups: Mapping[str, list[int]] | None = None,
        topology: Callable[[], Topology | None] = lambda: None,
    ) -> None:
        self.gpus = list(gpus)
        self.seconds = 0
        self.history = History()
        config = Config(findings=dict(findings or {}), groups=dict(groups or {}))
        self.engine = Engine(config, self.history, detectors=detectors, topology=topology)
        self.frame = Frame(node="n", taken_at=START, simulated=True, gpus=self.gpus)

    def passes(self, seconds: int, change: Change = lambda gpu, _: gpu) -> list[Finding]:
        """So many seconds; `change` is given each GPU as it was at the start, and the second since the story began."""
        for _ in range(seconds):
            rows = [change(gpu, self.seconds) for gpu in self.gpus]
            frame = structs.replace(self.frame, taken_at=START + self.seconds, gpus=rows)
            self.history.append(frame, float(self.seconds))
            self.frame = self.engine.judge(frame, float(self.seconds))
            self.seconds += 1
        assert self.engine.errors == {}
        return self.frame.findings

    def silence(self, seconds: int) -> None:
        """Time without any frame."""
        self.seconds += seconds


def kinds(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]
