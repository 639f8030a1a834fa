"""Listening: our own socket, our own stop, uvicorn in between."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.types import Receive, Scope, Send

from gpuwatch_agent.api.address import Address
from gpuwatch_agent.api.connection import BoundedConnection
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.model.errors import AddressInUseError, UsageError

_BACKLOG = 512
_SECURITY_HEADERS = [
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
]


class Servable(Protocol):
    """An ASGI application that can be told to end what would go on by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
    def close(self) -> None: ...


class _Uvicorn(uvicorn.Server):
    """Leaves signals to whoever runs the loop, and wakes once a second instead of ten times."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not (self._stop.is_set() or await self.on_tick(0)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stop.wait()


class Server:
    """`bind`, then `serve` until told to stop; the address is known in between, also for port 0."""

    def __init__(self, app: Servable, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._socket: socket.socket | None = None
        self._uvicorn: uvicorn.Server | None = None
        self.address = settings.address

    @property
    def connections(self) -> list[Any]:
        """The connections that are open now."""
        return list(self._uvicorn.server_state.connections) if self._uvicorn is not None else []

    @property
    def url(self) -> str:
        """Where clients find it."""
        return str(self.address) if self.address.path is not None else f"http://{self.address}"

    def bind(self) -> Address:
        """Take the address, or say who has it; gives the address with its real port."""
        self._settings.check()
        wanted = self._settings.address
        if wanted.path is not None:
            self._socket = _listen_on_path(wanted.path)
        else:
            self._socket = _listen_on_port(wanted)
            self.address = Address(host=wanted.host, port=self._socket.getsockname()[1])
        return self.address

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then streams end, and within two seconds everything has."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None  # noqa: S101 - bind sets it or raises
        server = self._uvicorn = _Uvicorn(self._config(), stop)
        helpers = [asyncio.create_task(self._close_on(stop)), asyncio.create_task(self._sweep())]
        try:
            await server.serve(sockets=[self._socket])
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._app.close()
            for connection in self.connections:
                connection.transport.abort()
            self.close()

    def close(self) -> None:
        """Give the address back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self.address.path is not None:
                Path(self.address.path).unlink(missing_ok=True)

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._app.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            for connection in self.connections:
                if isinstance(connection, BoundedConnection):
                    connection.cut_off_idle()

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        connection = type("Connection", (BoundedConnection,), {"most_connections": settings.most_connections})
        return uvicorn.Config(
            self._app,
            http=connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=_SECURITY_HEADERS,
            backlog=_BACKLOG,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=1,
        )


def _listen_on_port(address: Address) -> socket.socket:
    family, sockaddr = _resolve(address)
    # asyncio sets TCP_NODELAY on sockets that say they are TCP; without it a reply waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _explained(error, address) from error
    listener.setblocking(False)
    return listener


def _resolve(address: Address) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"The host {address.host!r} to listen on is not known here.", "Write an IP address of this machine."
        ) from error
    family, _, _, _, sockaddr = found[0]
    return family, sockaddr


def _explained(error: OSError, address: Address) -> AddressInUseError | UsageError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUseError(
            f"{address} is in use{_by_whom(address.port)}.",
            "If that is a gpuwatch agent, it serves this machine already; else choose another port with --listen.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return UsageError(
            f"This user may not listen on {address}.", "Choose a port from 1024 up with --listen, as 127.0.0.1:9489."
        )
    reason = error.strerror or str(error)
    return UsageError(f"Can't listen on {address}: {reason}.", "Write an address of this machine, as 127.0.0.1:9489.")


def _by_whom(port: int) -> str:
    """Name the program that listens there, if this user may see it."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            here = connection.laddr and connection.laddr.port == port
            if here and connection.pid and connection.status == psutil.CONN_LISTEN:
                return f" by {psutil.Process(connection.pid).name()} (PID {connection.pid})"
    return ""


def _listen_on_path(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_abandoned(path)
        listener.bind(path)
        Path(path).chmod(0o660)
        listener.listen(_BACKLOG)
    except AddressInUseError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        reason = (
            "something that is no socket is there" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        )
        raise UsageError(f"Can't listen on unix:{path}: {reason}.", "Check the path and its owner.") from error
    listener.setblocking(False)
    return listener


def _remove_abandoned(path: str) -> None:
    """Remove a socket file that nobody answers on any more, as a killed agent leaves it."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise AddressInUseError(
        f"unix:{path} is in use by a program that answers there.", "Stop it, or choose another path with --listen."
    )
