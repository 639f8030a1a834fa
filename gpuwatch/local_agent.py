"""Is an agent of this machine there already? Then nobody needs to read the GPUs a second time."""

import re
import socket
import time

from gpuwatch.agent_address import read_token
from gpuwatch_agent.config import Config
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.frame import SCHEMA

_BEGIN = re.compile(rb'\r\n\r\n\s*\{"schema":(\d+),"node":')
_ENOUGH = 4096


def find_local_agent(config: Config, *, within_s: float = 0.15) -> str | None:
    """The URL of an agent that answers at the configured address and speaks our language; None where there is none."""
    from gpuwatch_agent.api.address import parse_address

    try:
        address = parse_address(config.agent.listen)
    except UsageError:
        return None
    if address.path is not None or (address.host and not (address.loopback or address.wildcard)):
        return None  # what listens on a socket file or an outer address is asked for with --connect
    host = address.host if address.loopback else ("::1" if ":" in address.host else "127.0.0.1")
    if not _answers(host, address.port, _token(config), time.monotonic() + within_s):
        return None
    return f"http://{f'[{host}]' if ':' in host else host}:{address.port}"


def _token(config: Config) -> str | None:
    """The configured token where this user may read it: on loopback it may do without."""
    try:
        return read_token(config.agent.token_file) if config.agent.token_file is not None else None
    except UsageError:
        return None


def _answers(host: str, port: int, token: str | None, deadline: float) -> bool:
    sent = ["GET /v1/snapshot HTTP/1.1", "Host: localhost", "Connection: close"]
    sent += [f"Authorization: Bearer {token}"] if token is not None else []
    heard = b""
    try:
        with socket.create_connection((host, port), timeout=_left(deadline)) as connection:
            connection.sendall("\r\n".join([*sent, "", ""]).encode())
            while len(heard) < _ENOUGH and not _BEGIN.search(heard):
                connection.settimeout(_left(deadline))
                piece = connection.recv(_ENOUGH)
                if not piece:
                    break
                heard += piece
    except OSError:
        return False
    begin = _BEGIN.search(heard)
    return heard.startswith(b"HTTP/1.1 200 ") and begin is not None and int(begin[1]) == SCHEMA


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)
