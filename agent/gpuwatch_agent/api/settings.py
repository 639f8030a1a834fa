"""What the API needs to know of the configuration."""

import hashlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from gpuwatch_agent.api.address import Address, parse_address
from gpuwatch_agent.model.errors import UsageError

SHORTEST_TOKEN = 16


class AgentOptions(Protocol):
    """The part of the configuration that is about the API."""

    @property
    def listen(self) -> str: ...
    @property
    def token_file(self) -> str | None: ...
    @property
    def insecure_no_auth(self) -> bool: ...
    @property
    def allowed_hosts(self) -> Sequence[str]: ...


class ApiSettings(Struct, frozen=True, kw_only=True):
    """Address, manners and bounds of the API; the token is kept as its hash."""

    address: Address = Address(host="127.0.0.1", port=9489)
    token_sha256: bytes | None = None
    insecure: bool = False
    host_names: frozenset[str] = frozenset()
    fresh_for_s: float = 10.0
    """After so long without a frame the agent is not ready."""
    most_streams: int = 64
    most_connections: int = 512
    heartbeat_s: float = 15.0
    stall_s: float = 10.0
    """How long a stream's client may leave its socket full before it is cut off."""
    sweep_s: float = 10.0
    """A connection that brings no complete request for this long is cut off."""
    keep_alive_s: int = 5
    most_body_bytes: int = 65536

    @property
    def reading_needs_token(self) -> bool:
        """Off loopback reading is not open, unless that was wanted out loud."""
        return not self.address.loopback and not (self.insecure and self.token_sha256 is None)

    def check(self) -> None:
        """Refuse to be reachable from outside without a token."""
        if self.reading_needs_token and self.token_sha256 is None:
            raise UsageError(
                f"Listening on {self.address} would let everybody there read this machine: a token is needed.",
                "Give one with --token-file FILE, listen on 127.0.0.1, or accept it with --insecure-no-auth.",
            )


def settings_from(options: AgentOptions, *, interval_s: float = 1.0) -> ApiSettings:
    """Take over what the configuration says; reads the token's file."""
    names = {name.lower() for name in options.allowed_hosts} | {socket.gethostname().lower()}
    return ApiSettings(
        address=parse_address(options.listen),
        token_sha256=hash_token(read_token(options.token_file)) if options.token_file is not None else None,
        insecure=options.insecure_no_auth,
        host_names=frozenset(names),
        fresh_for_s=max(10.0, 3 * interval_s),
    )


def hash_token(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def read_token(path: str) -> str:
    """The first line of the token's file."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"The token file {path} can't be read: {reason}.", "Check the path and its owner.") from error
    token = text.partition("\n")[0].strip()
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise UsageError(
            f"The first line of {path} is no token: it needs at least {SHORTEST_TOKEN} printable ASCII characters.",
            f"Make one: (umask 077; head -c 32 /dev/urandom | base64 > {path})",
        )
    return token
