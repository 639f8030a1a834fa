"""The API as one ASGI application, by DESIGN's routes."""

from collections.abc import Callable, Sequence

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gpuwatch_agent.api.findings_route import FindingsRoute
from gpuwatch_agent.api.frame_routes import FrameRoute
from gpuwatch_agent.api.guard import Guard
from gpuwatch_agent.api.health_routes import HealthRoute, IndexRoute, ReadyRoute
from gpuwatch_agent.api.history_route import HistoryRoute
from gpuwatch_agent.api.openapi import OpenApiRoute
from gpuwatch_agent.api.replies import ProblemError
from gpuwatch_agent.api.runbook_route import RunbookRoute, RunbooksRoute
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.api.stream_route import StreamRoute
from gpuwatch_agent.api.topology_route import TopologyRoute
from gpuwatch_agent.history import History
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.finding import FindingEvent
from gpuwatch_agent.model.topology import Topology


class Application:
    """The guarded routes; `close` ends what would go on by itself."""

    def __init__(self, routes: Sequence[tuple[str, ASGIApp]], settings: ApiSettings) -> None:
        self.settings = settings
        self.endpoints = [endpoint for _, endpoint in routes]
        # Starlette calls plain functions with a request of its own making: an instance is taken as it is.
        router = Router(
            [Route(path, endpoint=_Mounted(endpoint)) for path, endpoint in routes],
            redirect_slashes=False,
            default=_not_found,
        )
        self._guard = Guard(router, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._guard(scope, receive, send)

    def close(self) -> None:
        """End streams and workers, so that the server can stop at once."""
        for endpoint in self.endpoints:
            if isinstance(endpoint, (StreamRoute, HistoryRoute)):
                endpoint.close()


class _Mounted:
    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        return self.app(scope, receive, send)


def create_app(
    hub: FrameHub,
    history: History,
    topology: Callable[[], Topology | None],
    settings: ApiSettings,
    mounts: Sequence[tuple[str, ASGIApp]] = (),
    *,
    finding_events: Callable[[], Sequence[FindingEvent]] = tuple,
) -> Application:
    """Put the routes together; `mounts` are further ones, as `("/metrics", app)`."""
    routes: list[tuple[str, ASGIApp]] = [
        ("/v1/snapshot", FrameRoute(hub, lambda published: published.json, lambda published: published.gzipped)),
        *mounts,
        ("/v1/stream", StreamRoute(hub, settings)),
        ("/v1/history", HistoryRoute(history, hub.clock)),
        ("/v1/findings", FindingsRoute(hub, finding_events)),
        ("/v1/runbooks", RunbooksRoute()),
        ("/v1/topology", TopologyRoute(topology)),
        ("/healthz", HealthRoute()),
        ("/readyz", ReadyRoute(hub, settings.fresh_for_s)),
        ("/openapi.json", OpenApiRoute()),
    ]
    index = IndexRoute([path for path, _ in routes])
    pages = [("/v1/runbooks/{kind}", RunbookRoute())]
    held = [("/v1/probes", _not_in_this_version), ("/v1/control", _not_in_this_version)]
    return Application([*routes, ("/", index), *pages, *held], settings)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del receive
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    action = "GET / lists what there is."
    if scope["path"] == "/metrics":
        action = "This agent was started without an exporter; /v1/snapshot has the same numbers as JSON."
    raise ProblemError(404, "not-found", "There is nothing at this path.", action)


async def _not_in_this_version(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    what = scope["path"].rpartition("/")[2]
    raise ProblemError(501, "not-implemented", f"This version of gpuwatch has no {what} over HTTP.")
