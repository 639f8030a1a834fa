"""`/v1/findings`: what is wrong now, and what was raised, changed and cleared before."""

from collections.abc import Callable, Sequence

import msgspec
from starlette.types import Scope, Send

from gpuwatch_agent.api.frame_routes import no_frame_yet
from gpuwatch_agent.api.queries import names, number, single_values
from gpuwatch_agent.api.replies import WORTH_COMPRESSING, Plain, Tagged, wants_gzip, zipped
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.model.frame import SCHEMA, Frame

DEFAULT_SECONDS = 3600.0
PARAMETERS = {
    "since": f"Unix time from which on events are told; where left out, the last {DEFAULT_SECONDS:g} seconds. 0 for all "
    "that are remembered.",
    "kind": "Kinds of findings, separated by commas; all where left out.",
    "gpu": "Indices of GPUs, separated by commas: findings and events that concern one of them; all where left out.",
}
_LISTS = {"kind", "gpu"}


class FindingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of the newest frame, the worst first, and how findings came and went, the oldest first."""

    schema: int = SCHEMA
    node: str
    taken_at: float
    simulated: bool
    findings: list[Finding]
    events: list[FindingEvent]


class FindingsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A query string, understood."""

    since: float | None = None
    kinds: frozenset[str] | None = None
    gpus: frozenset[int] | None = None

    def concerns(self, finding: Finding) -> bool:
        """Whether it was asked for."""
        if self.kinds is not None and finding.kind not in self.kinds:
            return False
        return self.gpus is None or not self.gpus.isdisjoint(finding.gpus)


def parse_question(query: bytes) -> FindingsQuestion:
    """Understand a query string, or say what is wrong with it; a kind that does not exist has no findings."""
    given = single_values(query, PARAMETERS, _LISTS, "The findings know")
    kinds, gpus = names(given, "kind"), names(given, "gpu")
    for gpu in gpus or ():
        if not (gpu.isascii() and gpu.isdecimal() and len(gpu) < 6):
            raise UsageError(f"`gpu` is {gpu!r}, which is no GPU's index.", "As in gpu=5 or gpu=0,1.")
    return FindingsQuestion(
        since=number(given, "since"),
        kinds=frozenset(kinds) if kinds is not None else None,
        gpus=frozenset(int(gpu) for gpu in gpus) if gpus is not None else None,
    )


class FindingsRoute(Plain):
    """Encoded on the loop: an hour of events is short, unless somebody asks for all of them."""

    def __init__(self, hub: FrameHub, events: Callable[[], Sequence[FindingEvent]]) -> None:
        self._hub = hub
        self._events = events

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer one question; events come only with frames, so a frame's number tags the answer, too."""
        question = parse_question(scope["query_string"])
        published = self._hub.newest
        if published is None:
            raise no_frame_yet()
        body = msgspec.json.encode(self._answer(published.frame, question))
        tag = f"{self._hub.epoch}-{published.sequence}"
        if wants_gzip(scope) and len(body) >= WORTH_COMPRESSING:
            await Tagged(zipped(body), tag, gzipped=True).send(scope, send)
        else:
            await Tagged(body, tag).send(scope, send)

    def _answer(self, frame: Frame, question: FindingsQuestion) -> FindingsAnswer:
        since = question.since if question.since is not None else frame.taken_at - DEFAULT_SECONDS
        return FindingsAnswer(
            node=frame.node,
            taken_at=frame.taken_at,
            simulated=frame.simulated,
            findings=[finding for finding in frame.findings if question.concerns(finding)],
            events=[event for event in self._events() if event.at >= since and question.concerns(event.finding)],
        )
