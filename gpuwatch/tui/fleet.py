"""Several agents at a glance: each asked now and then, over few connections, and only while somebody looks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from gpuwatch.agent_address import short_address
from gpuwatch.client import AgentClient, AgentSilentError, open_connections
from gpuwatch.render.facts import RANK
from gpuwatch_agent.model.frame import Trouble

if TYPE_CHECKING:
    import httpx

PACE_S = 5.0
_SILENT_PACE_S = 15.0
_AT_ONCE = 8
_DRAWS_EVERY_S = 0.5

Mark = Literal["", "ok", "warning", "critical", "stale", "lost", "unreachable"]


class GlanceGpu(Struct, frozen=True, gc=False):
    """What a cell shows of one GPU."""

    index: int
    state: Literal["ok", "stale", "lost"] = "ok"
    name: str | None = None
    utilization_pct: float | None = None
    power_w: float | None = None


class GlanceFinding(Struct, frozen=True):
    """What a cell shows of one finding."""

    severity: Literal["info", "warning", "critical"]
    summary: str
    gpus: list[int]
    since: float


class Glance(Struct, frozen=True):
    """The part of a snapshot that a cell shows; the rest is not even decoded."""

    schema: int
    node: str
    taken_at: float
    simulated: bool
    gpus: list[GlanceGpu]
    findings: list[GlanceFinding] = []
    trouble: Trouble | None = None


class Node(Struct, kw_only=True):
    """One agent as last heard."""

    url: str
    glance: Glance | None = None
    heard_at: float | None = None
    """Wall clock of when it answered last."""
    reason: str | None = None
    """Why it does not answer, in a few words."""
    sentence: str = ""
    """The same in whole sentences, with what to do."""

    @property
    def name(self) -> str:
        """As the node calls itself; before it has answered, where it was looked for."""
        return self.glance.node if self.glance is not None and self.glance.node else short_address(self.url)

    @property
    def mark(self) -> Mark:
        """How it is: the worst that is known; empty before anything is."""
        if self.reason is not None:
            return "unreachable"
        if self.glance is None:
            return ""
        if self.in_trouble:
            return "critical"
        known: list[Mark] = ["ok"]
        known += [finding.severity for finding in self.glance.findings if finding.severity != "info"]
        known += [gpu.state for gpu in self.glance.gpus]
        return max(known, key=lambda mark: RANK.get(mark, 0))

    @property
    def in_trouble(self) -> bool:
        """Whether its agent can't see; a machine without GPUs was seen well."""
        trouble = self.glance.trouble if self.glance is not None else None
        return trouble is not None and trouble.kind != "no_gpus"

    @property
    def power_w(self) -> float | None:
        """All GPUs together, as far as told."""
        told = [gpu.power_w for gpu in self._answering() if gpu.power_w is not None]
        return sum(told) if told else None

    @property
    def utilization_pct(self) -> float | None:
        """The mean over its GPUs."""
        told = [gpu.utilization_pct for gpu in self._answering() if gpu.utilization_pct is not None]
        return sum(told) / len(told) if told else None

    @property
    def worst_finding(self) -> GlanceFinding | None:
        """The first: the agent puts the worst first."""
        return self.glance.findings[0] if self.glance is not None and self.glance.findings else None

    def _answering(self) -> Sequence[GlanceGpu]:
        if self.glance is None or self.reason is not None:
            return ()
        return [gpu for gpu in self.glance.gpus if gpu.state == "ok"]


class Fleet:
    """The nodes in the order given. `watched` says whether somebody looks; else nobody is asked."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str | None = None,
        pace_s: float = PACE_S,
        wall_clock: Callable[[], float] = time.time,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self.nodes = [Node(url=url) for url in urls]
        self._token = token
        self._pace_s = pace_s
        self._wall_clock = wall_clock
        self._transport = transport
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._watched = asyncio.Event()
        self._watched.set()
        self._dirty = asyncio.Event()

    def watch(self, *, watched: bool) -> None:
        """Ask on, or rest."""
        if watched:
            self._watched.set()
        else:
            self._watched.clear()

    def client(self, url: str) -> AgentClient:
        """A client of its own for the node that is gone into."""
        return AgentClient(url, token=self._token, transport=self._transport)

    async def run(self, changed: Callable[[], None]) -> None:
        """Keep asking until cancelled; `changed` is called seldom, for many answers at once."""
        tls = any(node.url.startswith("https:") for node in self.nodes)
        connections = open_connections(self._transport, tls=tls)
        asking = [
            asyncio.create_task(self._keep(node, place / len(self.nodes), connections))
            for place, node in enumerate(self.nodes)
        ]
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                changed()
                await asyncio.sleep(_DRAWS_EVERY_S)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await connections.aclose()

    async def _keep(self, node: Node, share: float, connections: "httpx.AsyncClient") -> None:
        client = AgentClient(node.url, token=self._token, connections=connections)
        stagger_s = share * self._pace_s  # all are asked at once to begin with, then one after the other
        while True:
            await self._watched.wait()
            async with self._turns:
                await self._ask(node, client)
            pace_s = self._pace_s if node.reason is None else max(_SILENT_PACE_S, self._pace_s)
            await asyncio.sleep(pace_s + stagger_s)
            stagger_s = 0.0

    async def _ask(self, node: Node, client: AgentClient) -> None:
        try:
            glance = await client.get("/v1/snapshot", Glance)
        except AgentSilentError as error:
            node.reason, node.sentence = error.reason, str(error)
        else:
            node.glance, node.heard_at = glance, self._wall_clock()
            node.reason, node.sentence = None, ""
        self._dirty.set()
