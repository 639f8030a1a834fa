"""Serves the dashboard by textual-serve, behind a door: names, origins, a token, and a bound on how many."""

import asyncio
import hmac
import json
import logging
import secrets
import socket
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.app_service import AppService
from textual_serve.server import Server

from gpuwatch_agent.api.address import Address, HostNames
from gpuwatch_agent.model.errors import AddressInUseError

_MOST_BROWSERS = 16
_MOST_COLUMNS, _MOST_LINES = 1000, 500
_LONGEST_FORM = 4096
_LONGEST_GOODBYE_S, _REAPED_AFTER_S = 5.0, 0.2
# Nothing from elsewhere, to nobody else: the page works without the internet, and asks nobody there for its letters.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` the door's own form would come with the origin `null`.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
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
        app.on_response_prepare.append(_with_headers)
        if self._token is not None:
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
            if origin is not None and origin not in {f"http://{host}", f"https://{host}"}:
                return web.Response(status=403, text="Pages of other sites are not answered.\n")
            if self._token is not None and request.path != "/enter" and not self._known(request):
                return web.Response(status=401, text=_ASK % "The token of this gpuwatch:", content_type="text/html")
            return await handler(request)

        return door

    def _known(self, request: web.Request) -> bool:
        return _same(request.cookies.get(_cookie_name(request), ""), self._session)

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        if (request.content_length or 0) > _LONGEST_FORM:
            return web.Response(status=413, text="That is too long for a token.\n")
        given = parse_qs((await request.read()).decode("ascii", "replace")).get("token", [""])[0].strip()
        if self._token is None or not _same(given, self._token):
            return web.Response(status=401, text=_ASK % "That is not the token. Once more:", content_type="text/html")
        entered = web.Response(status=303, headers={"Location": "/"})
        secure = _scheme(request) == "https"
        entered.set_cookie(_cookie_name(request), self._session, httponly=True, samesite="Strict", secure=secure)
        return entered

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page, with the addresses under which this browser reached it."""
        self.public_url = f"{_scheme(request)}://{request.host}"
        shown: web.StreamResponse = await super().handle_index(request)
        return shown

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One more dashboard, as long as there are not too many: each reads the machine by itself."""
        if len(self._browsers) >= _MOST_BROWSERS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_BROWSERS} browsers are served already.\n")
        asked = (request.query.get("width", "80"), request.query.get("height", "24"))
        if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in asked) or not _drawable(
            int(asked[0]), int(asked[1])
        ):
            raise web.HTTPBadRequest(text=f"At most {_MOST_COLUMNS} by {_MOST_LINES} letters are drawn.\n")
        own = asyncio.current_task()
        if own is not None:
            self._browsers.add(own)
            own.add_done_callback(self._browsers.discard)
        return await super().handle_websocket(request)

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """What a browser says, as long as it makes sense: a size without bounds would fill this machine's memory."""
        async for message in websocket:
            said = _understood(message.data) if message.type is WSMsgType.TEXT else None
            match said:
                case ["stdin", str(typed)]:
                    await app_service.send_bytes(typed.encode("utf-8", "replace"))
                case ["resize", {"width": int(width), "height": int(height)}] if _drawable(width, height):
                    await app_service.set_terminal_size(width, height)
                case ["ping", str(mark)]:
                    await websocket.send_json(["pong", mark])
                case ["blur"]:
                    await app_service.blur()
                case ["focus"]:
                    await app_service.focus()

    async def on_shutdown(self, app: web.Application) -> None:
        """End the browsers' dashboards, and wait until they are gone: nobody stays behind."""
        del app
        browsers = set(self._browsers)
        for browser in browsers:
            browser.cancel()
        if browsers:
            await asyncio.wait(browsers, timeout=_LONGEST_GOODBYE_S)
            await asyncio.sleep(_REAPED_AFTER_S)


def _understood(said: str) -> object:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return None


def _drawable(columns: int, lines: int) -> bool:
    return 0 < columns <= _MOST_COLUMNS and 0 < lines <= _MOST_LINES


def _same(given: str, wanted: str) -> bool:
    # Headers may hold bytes that are no text; comparing must not fail on them.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _scheme(request: web.Request) -> str:
    # A proxy that ends TLS says so; whoever else says so only changes the links in his own page.
    return "https" if request.headers.get("X-Forwarded-Proto") == "https" else request.scheme


def _cookie_name(request: web.Request) -> str:
    # Browsers keep cookies by host without its port: two tunnels to two nodes must not push each other out.
    port = request.host.rpartition(":")[2]
    return f"gpuwatch-{port}" if port.isdigit() else "gpuwatch"


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(_HEADERS)


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
