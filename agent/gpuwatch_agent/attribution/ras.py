"""NCCL's own word on who works with whom: its RAS service, asked over a local socket.

Since 2.24 every NCCL job listens on localhost:28028 (NCCL_RAS_ADDR) and answers in text; since 2.28.7 it can also answer
in JSON, which alone lists every rank of every communicator. Whoever holds that port is believed, so this is asked only
where the configuration says so. Several jobs of one user share the port, and each connection reaches one of them: what
was heard in the last minutes is kept together. Whatever comes back is somebody else's word: short, in time and well
formed, or dropped.

Protocol: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/ras.html
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    import socket

CONNECT_S = 0.5
WHOLE_S = 5.0
# NCCL is asked to give up on silent ranks early enough for its answer to reach us.
_NCCL_TIMEOUT_S = 3
MOST_BYTES = 16 << 20
# A job that shares the port with others is reached by chance: what it said stays true for a while.
REMEMBERED_S = 300.0
_MOST_COMMUNICATORS = 4096
_MOST_HOSTS = 4096
_LINE_BYTES = 256
_HASH = r"0x[0-9a-f]{1,16}(?::0x[0-9a-f]{1,16})?"
_FINISHED = ("finalize_called", "destroy_flag", "abort_flag")
# Moves between two ranks, and no meeting of all: a pipeline's communicator has only these.
_NOT_COLLECTIVE = frozenset({"Send", "Recv", "SendRecv"})


class RasError(Exception):
    """The service answered, and the answer is of no use; says why."""


class NobodyListensError(RasError):
    """No NCCL job on this machine offers the service, which is no fault."""


class Rank(Struct, frozen=True, kw_only=True, gc=False):
    """One rank of a communicator on this machine, as its own process numbers itself and its GPU."""

    rank: int
    pid: int
    gpu: int


class Communicator(Struct, frozen=True, kw_only=True):
    """Ranks that meet in collectives."""

    id: str
    size: int
    """Over all machines; `ranks` are those on this one."""
    ranks: tuple[Rank, ...]
    collectives: int
    """How many operations of all ranks together were launched so far, by the rank that has launched most."""


class _RawRank(Struct):
    rank: int
    host: str = ""
    pid: int = -1
    nvml_dev: int = -1
    status: dict[str, bool | int] = {}
    collective_counts: dict[str, int] = {}


class _RawCommunicator(Struct):
    hash: str
    size: int
    ranks: list[_RawRank]
    secondary_hash: str = ""


class _RawAnswer(Struct):
    communicators: list[_RawCommunicator]


def ask(address: str, *, clock: Callable[[], float] = time.monotonic) -> list[Communicator]:
    """The communicators of the job that answers, those with at least two ranks here; raises `RasError`."""
    try:
        answer = _Conversation(address, clock).answer()
    except TimeoutError:
        raise RasError(f"{address} did not answer within {WHOLE_S:g} s") from None
    except (OSError, UnicodeError) as error:
        raise RasError(f"{address} broke off: {error}") from None
    return communicators_in(answer)


class _Conversation:
    """One connection, from the handshake to the end of the answer."""

    def __init__(self, address: str, clock: Callable[[], float]) -> None:
        self._address = address
        self._clock = clock
        self._ends_at = clock() + WHOLE_S
        self._received = bytearray()

    def answer(self) -> bytes:
        import socket  # only who asks pays for it

        host, _, port = self._address.rpartition(":")
        try:
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S)
        except OSError as error:
            raise NobodyListensError(f"nobody listens on {self._address}: {error}") from None
        with connection:
            if not self._say(connection, "CLIENT PROTOCOL 2").startswith("SERVER PROTOCOL "):
                raise RasError(f"{self._address} is not NCCL's RAS service")
            self._say(connection, f"TIMEOUT {_NCCL_TIMEOUT_S}")
            if self._say(connection, "SET FORMAT json") != "OK":
                raise RasError("this NCCL answers in text only, which names no members: JSON came with 2.28.7")
            self._send(connection, "STATUS")
            while self._receive(connection):
                if len(self._received) > MOST_BYTES:
                    raise RasError(f"{self._address} sent more than {MOST_BYTES >> 20} MiB")
            return bytes(self._received)

    def _say(self, connection: "socket.socket", line: str) -> str:
        """One line there, one line back."""
        self._send(connection, line)
        while b"\n" not in self._received:
            if not self._receive(connection) or len(self._received) > MOST_BYTES:
                raise RasError(f"{self._address} hung up after {line!r}")
            if b"\n" not in self._received[:_LINE_BYTES] and len(self._received) > _LINE_BYTES:
                raise RasError(f"{self._address} is not NCCL's RAS service")
        reply, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return reply[:_LINE_BYTES].decode("utf-8", "replace").strip()

    def _send(self, connection: "socket.socket", line: str) -> None:
        connection.settimeout(self._left())
        connection.sendall(line.encode() + b"\n")

    def _receive(self, connection: "socket.socket") -> bool:
        connection.settimeout(self._left())
        chunk = connection.recv(65536)
        self._received += chunk
        return bool(chunk)

    def _left(self) -> float:
        left = self._ends_at - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def communicators_in(answer: bytes, is_here: Callable[[str], bool] | None = None) -> list[Communicator]:
    """What a JSON answer says of this machine; raises `RasError` where it makes no sense."""
    try:
        raw = msgspec.json.decode(answer, type=_RawAnswer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RasError(f"the answer is not what NCCL says: {str(error)[:120]}") from None
    here = is_here or _is_here
    known: dict[str, bool] = {}
    found = []
    for one in raw.communicators[:_MOST_COMMUNICATORS]:
        for rank in one.ranks:
            if rank.host not in known and len(known) < _MOST_HOSTS:
                known[rank.host] = here(rank.host)
        communicator = _communicator(one, [rank for rank in one.ranks if known.get(rank.host)])
        if communicator is not None:
            found.append(communicator)
    return found


def _communicator(raw: _RawCommunicator, local: Sequence[_RawRank]) -> Communicator | None:
    """One that is at work on this machine and numbers its ranks as ranks are numbered."""
    ranks = [Rank(rank=one.rank, pid=one.pid, gpu=one.nvml_dev) for one in local if one.pid > 0 and one.nvml_dev >= 0]
    sound = all(0 <= one.rank < raw.size for one in ranks) and len({one.rank for one in ranks}) == len(ranks)
    if len(ranks) < 2 or not sound or not re.fullmatch(_HASH, raw.hash):
        return None
    if any(one.status.get(flag) for one in local for flag in _FINISHED):
        return None
    named = f"{raw.hash}/{raw.secondary_hash}" if re.fullmatch(_HASH, raw.secondary_hash) else raw.hash
    counts = [_collectives(one.collective_counts) for one in local]
    only_pairs = any(one.collective_counts.get(name) for one in local for name in _NOT_COLLECTIVE) and not any(counts)
    if only_pairs:
        return None
    return Communicator(id=named, size=raw.size, ranks=tuple(ranks), collectives=max(counts, default=0))


def _collectives(counts: Mapping[str, int]) -> int:
    return sum(count for name, count in counts.items() if name not in _NOT_COLLECTIVE and count > 0)


def _is_here(host: str) -> bool:
    """Whether an address is this machine's: only such a one can be bound. Names are not looked up."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError, ValueError):
        return False
    return True


class RasMemory:
    """What was heard in the last minutes, over all jobs that share the port."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[float, Communicator]] = {}

    def hear(self, communicators: Iterable[Communicator]) -> None:
        now = self._clock()
        self._heard.update({one.id: (now, one) for one in communicators})
        self._heard = {name: pair for name, pair in self._heard.items() if now - pair[0] <= REMEMBERED_S}

    def communicators(self) -> list[Communicator]:
        now = self._clock()
        return [one for at, one in self._heard.values() if now - at <= REMEMBERED_S]
