"""Where the agent listens, and under which names it may be addressed."""

import re
from functools import lru_cache
from ipaddress import ip_address

from msgspec import Struct

from gpuwatch_agent.model.errors import UsageError

_HOW = "Write HOST:PORT, as 127.0.0.1:9489 or [::1]:9489, or unix:/run/gpuwatch.sock."
_PORT = re.compile(r":[0-9]*")
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


class Address(Struct, frozen=True, kw_only=True):
    """One place to listen at: a host and port, or a socket file."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; a name counts only where it can mean nothing else."""
        return self.path is not None or is_loopback(self.host)

    @property
    def wildcard(self) -> bool:
        """Whether it stands for all addresses of the machine."""
        return self.path is None and is_literal(self.host) and ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(written: str) -> Address:
    """Read HOST:PORT, [IPv6]:PORT or unix:PATH."""
    if written.startswith("unix:"):
        path = written.removeprefix("unix:")
        if not path.startswith("/"):
            raise UsageError(f"The address {written!r} names no absolute path.", _HOW)
        return Address(path=path)
    host, colon, port = written.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or bracketed != (":" in host) or (bracketed and not is_literal(host)):
        raise UsageError(f"The address {written!r} can't be understood.", _HOW)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(f"The port in {written!r} is not a number from 0 to 65535.", _HOW)
    return Address(host=host, port=int(port))


def is_literal(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and can't be anything else."""
    return host.lower() in _LOCAL_NAMES or (is_literal(host) and ip_address(host).is_loopback)


def host_of(header: str) -> str | None:
    """The host in a `Host` header, without port and brackets; `None` where it makes no sense."""
    if header.startswith("["):
        inside, bracket, rest = header[1:].partition("]")
        sensible = bracket and (not rest or _PORT.fullmatch(rest)) and is_literal(inside)
        return inside.lower() if sensible else None
    host, _, port = header.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit())):
        return None
    return host.lower().rstrip(".")


class HostNames:
    """The names under which requests are taken: a page in a browser that was led here by DNS comes under its own."""

    def __init__(self, address: Address, names: frozenset[str]) -> None:
        self._literals_pass = address.wildcard
        self._names = names | {address.host.lower()} if address.host else names
        self.accepts = lru_cache(maxsize=256)(self._accepts)

    def _accepts(self, header: bytes) -> bool:
        host = host_of(header.decode("latin-1"))
        if host is None:
            return False
        # DNS rebinding needs a name: an IP address in `Host` was typed by somebody who meant it.
        return is_loopback(host) or host in self._names or (self._literals_pass and is_literal(host))
