"""Serves the dashboard by textual-serve, behind a door: names, origins, a token, and a bound on how many."""

import asyncio
import hmac
import logging
import secrets
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.server import Server

from gpuwatch_agent.api.address import Address, HostNames
from gpuwatch_agent.model.errors import AddressInUseError

_COOKIE = "gpuwatch"
_MOST_BROWSERS = 16
_LONGEST_GOODBYE_S, _REAPED_AFTER_S = 5.0, 0.2
# Nothing from elsewhere: the page works without the internet, and asks nobody there for its letters.
_OWN_ONLY = (
    "default-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; img-src 'self' data:; font-src 'self' data:; "
    "frame-ancestors 'none'"
)
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>gpuwatch</title>
<style>body{background:#11151a;color:#d5dbe1;font:16px monospace;margin:20vh auto;max-width:32em}</style>
<form method="post" action="/enter"><p>%s</p><input type="password" name="token" autofocus aria-label="token">
<button>Enter</button></form></html>"""


class DashboardServer(Server):
    """One dashboard a browser."""

    def __init__(self, address: Address, token: str | None, command: str, names: Sequence[str]) -> None:
        super().__init__(command, host=address.host, port=address.port, title="gpuwatch")
        self._address = address
        self._token = token
        self._session = secrets.token_urlsafe(32)
        """What a browser keeps instead of the token; another one each time this is started."""
        known = frozenset({*(name.lower() for name in names), socket.gethostname().lower()})
        self._names = HostNames(address, known)
        self._browsers: set[asyncio.Task[object]] = set()

    def initialize_logging(self) -> None:
        """Only what goes wrong."""
        logging.basicConfig(level=logging.WARNING, format="gpuwatch web: %(message)s")

    async def on_startup(self, app: web.Application) -> None:
        """Say where."""
        del app
        how = "the token opens it" if self._token is not None else "read-only, for this machine: no token is set"
        print(f"The dashboard is on http://{self._address} ({how}). Ctrl+C ends it.", file=sys.stderr)  # noqa: T201  # what people wait for

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._door())
        app.add_routes([web.post("/enter", self._enter)])
        return app

    def _door(self) -> Middleware:
        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            host = request.headers.get("Host", "")
            if not self._names.accepts(host.encode("latin-1", "replace")):
                return web.Response(status=403, text="This name is not this machine's; see agent.allowed_hosts.\n")
            origin = request.headers.get("Origin")
            # Any page could open a websocket to here, and type.
            if origin is not None and urlsplit(origin).netloc != host:
                return web.Response(status=403, text="Pages of other sites are not answered.\n")
            if self._token is not None and request.path != "/enter" and not self._known(request):
                return web.Response(status=401, text=_ASK % "The token of this gpuwatch:", content_type="text/html")
            return await handler(request)

        return door

    def _known(self, request: web.Request) -> bool:
        return hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._session.encode())

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        given = str((await request.post()).get("token", "")).strip()
        if self._token is None or not hmac.compare_digest(given.encode(), self._token.encode()):
            return web.Response(status=401, text=_ASK % "That is not the token. Once more:", content_type="text/html")
        entered = web.Response(status=303, headers={"Location": "/"})
        entered.set_cookie(_COOKIE, self._session, httponly=True, samesite="Strict", secure=request.secure)
        return entered

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page, with the addresses under which this browser reached it."""
        self.public_url = f"{request.scheme}://{request.host}"
        shown: web.StreamResponse = await super().handle_index(request)
        shown.headers["Content-Security-Policy"] = _OWN_ONLY
        return shown

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One more dashboard, as long as there are not too many: each reads the machine by itself."""
        if len(self._browsers) >= _MOST_BROWSERS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_BROWSERS} browsers are served already.\n")
        own = asyncio.current_task()
        if own is not None:
            self._browsers.add(own)
            own.add_done_callback(self._browsers.discard)
        return await super().handle_websocket(request)

    async def on_shutdown(self, app: web.Application) -> None:
        """End the browsers' dashboards, and wait until they are gone: nobody stays behind."""
        del app
        browsers = set(self._browsers)
        for browser in browsers:
            browser.cancel()
        if browsers:
            await asyncio.wait(browsers, timeout=_LONGEST_GOODBYE_S)
            await asyncio.sleep(_REAPED_AFTER_S)


def serve(address: Address, token: str | None, command: str, names: Sequence[str]) -> None:
    """Until Ctrl+C."""
    try:
        DashboardServer(_with_port(address), token, command, names).serve()
    except OSError as error:
        raise AddressInUseError(
            f"Can't listen on {address}: {(error.strerror or str(error)).lower()}.",
            "Choose another place with --listen.",
        ) from error


def _with_port(address: Address) -> Address:
    """Port 0 means any that is free: the kernel chooses one, so that it can be said before anybody listens."""
    if address.port != 0:
        return address
    family, kind, _, _, place = socket.getaddrinfo(address.host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as chosen:
        chosen.bind(place)
        return Address(host=address.host, port=int(chosen.getsockname()[1]))
