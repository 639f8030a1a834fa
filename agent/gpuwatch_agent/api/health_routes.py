"""`/healthz`, `/readyz` and `/`: is the agent there, does it see, and what can be asked."""

from collections.abc import Sequence

from msgspec import Struct
from starlette.types import Scope, Send

from gpuwatch_agent.api.frame_routes import no_frame_yet
from gpuwatch_agent.api.replies import Plain, ProblemError, send_json
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.frame import Trouble


class Health(Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str = "ok"


class Readiness(Struct, frozen=True, kw_only=True):
    """Fresh frames are being published; what keeps the GPUs from being seen, if anything does, is `trouble`."""

    status: str = "ready"
    frame_age_s: float
    gpus: int
    trouble: Trouble | None = None


class Index(Struct, frozen=True, kw_only=True):
    """Where to find what."""

    name: str = "gpuwatch"
    links: list[str]


class HealthRoute(Plain):
    """Alive, whatever the GPUs do."""

    async def get(self, scope: Scope, send: Send) -> None:
        """Say so."""
        await send_json(scope, send, Health())


class ReadyRoute(Plain):
    """Ready while frames come. A node without a driver is ready: its frames say what is wrong, as they should."""

    def __init__(self, hub: FrameHub, fresh_for_s: float) -> None:
        self._hub = hub
        self._fresh_for_s = fresh_for_s

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer 200 with the frame's age, or 503 with the reason."""
        published = self._hub.newest
        if published is None:
            raise no_frame_yet()
        age_s = self._hub.clock() - published.at_monotonic
        if age_s > self._fresh_for_s:
            raise ProblemError(
                503,
                "no-fresh-frame",
                f"The last frame is {age_s:.0f} s old.",
                "The agent's loop does not publish any more: look at its log, or restart it.",
            )
        frame = published.frame
        ready = Readiness(frame_age_s=round(max(0.0, age_s), 3), gpus=len(frame.gpus), trouble=frame.trouble)
        await send_json(scope, send, ready)


class IndexRoute(Plain):
    """A list of paths for whoever comes by hand."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._index = Index(links=list(paths))

    async def get(self, scope: Scope, send: Send) -> None:
        """List them."""
        await send_json(scope, send, self._index)
