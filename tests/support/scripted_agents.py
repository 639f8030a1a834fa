"""Agents on loopback that can be cut off and put back, at one address that stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gpuwatch.client import AgentClient
from gpuwatch_agent.api.settings import ApiSettings
from support.running_api import LOCAL, RunningApi, running_api


class Moving(httpx.AsyncBaseTransport):
    """Leads `http://node07` to whichever port answers now; to a closed one where none does."""

    def __init__(self) -> None:
        self.port: int | None = None
        self._inner = httpx.AsyncHTTPTransport(verify=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it to where the agent is now."""
        port = self.port if self.port is not None else 1
        request.url = request.url.copy_with(host="127.0.0.1", port=port)
        request.headers["Host"] = f"127.0.0.1:{port}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the real connections."""
        await self._inner.aclose()


@asynccontextmanager
async def agent_at(moving: Moving, settings: ApiSettings = LOCAL, *, frames: int = 1) -> AsyncIterator[RunningApi]:
    """A real API server, reached through `moving` while this lasts."""
    async with running_api(settings, frames=frames) as api:
        moving.port = api.port
        try:
            yield api
        finally:
            moving.port = None


def client_over(moving: httpx.AsyncBaseTransport, token: str | None = None) -> AgentClient:
    """A client of the agent that moves."""
    return AgentClient("http://node07:9489", token=token, transport=moving)
