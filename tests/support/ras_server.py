"""A server that speaks NCCL's RAS protocol as its clients know it, and the ways in which it may not."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

Rank = dict[str, Any]
Communicator = dict[str, Any]
COUNTS = ("Broadcast", "Reduce", "AllGather", "ReduceScatter", "AllReduce", "SendRecv", "Send", "Recv")


def rank(
    number: int, pid: int, gpu: int, *, host: str = "127.0.0.1", status: dict[str, Any] | None = None, **counts: int
) -> Rank:
    """One rank as NCCL 2.28.7 writes it."""
    running = {"init_state": 0, "async_error": 0, "finalize_called": False, "destroy_flag": False, "abort_flag": False}
    return {
        "rank": number,
        "host": host,
        "pid": pid,
        "cuda_dev": gpu,
        "nvml_dev": gpu,
        "status": {**running, **(status or {})},
        "collective_counts": {name: counts.get(name, 0) for name in COUNTS},
    }


def communicator(ranks: Sequence[Rank], *, size: int | None = None, name: str = "0x27a079b828ff1a75") -> Communicator:
    return {
        "hash": name,
        "secondary_hash": "0x6a3f:0x91",
        "size": len(ranks) if size is None else size,
        "ranks_count": len(ranks),
        "missing_ranks_count": 0,
        "ranks": list(ranks),
        "missing_ranks": [],
    }


def answer(*communicators: Communicator) -> bytes:
    document = {
        "nccl_version": "2.28.7",
        "cuda_runtime_version": 13000,
        "cuda_driver_version": 13000,
        "timestamp": "2026-11-20 10:15:20",
        "communicators_count": len(communicators),
        "communicators": list(communicators),
        "ras": {"collection_time_sec": 0.004, "timeouts_count": 0},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


TEXT = b"""NCCL version 2.26.2 compiled with CUDA 12.8
CUDA runtime version 12080, driver version 12080

Job summary
===========

  Nodes  Processes         GPUs  Processes     GPUs
(total)   per node  per process    (total)  (total)
      1          2            1          2        2
"""


class RasServer:
    """Answers one connection after the other; `said` is what clients sent."""

    def __init__(self, status: bytes = b"", *, json: bool = True, greeting: bytes = b"SERVER PROTOCOL 2\n") -> None:
        self.status = status
        self.json = json
        self.greeting = greeting
        self.silent_at: str | None = None
        """A command that is never answered."""
        self.hangs_up_at: str | None = None
        """A command after which the connection is closed."""
        self.cut_at: int | None = None
        """After so many bytes of the answer the connection breaks."""
        self.endless = False
        self.said: list[str] = []
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="ras server")
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._over.set()
        # A thread in accept is woken by a caller, not by closing.
        with socket.create_connection(self._socket.getsockname()):
            self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if self._over.is_set():
                    return
                try:
                    self._converse(connection)
                except OSError:
                    continue

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for line in lines:
                words = line.decode().strip()
                self.said.append(words)
                if self.silent_at is not None and words.startswith(self.silent_at):
                    lines.readline()  # until the client hangs up
                    return
                if self.hangs_up_at is not None and words.startswith(self.hangs_up_at):
                    return
                if words == "STATUS":
                    self._report(connection)
                    return
                connection.sendall(self._reply(words))

    def _reply(self, words: str) -> bytes:
        if words.startswith("CLIENT PROTOCOL "):
            return self.greeting
        if words.startswith("SET FORMAT ") and not self.json:
            return f"ERROR: Unknown command {words}\n".encode()
        return b"OK\n"

    def _report(self, connection: socket.socket) -> None:
        while self.endless:
            connection.sendall(b" " * 65536)
        connection.sendall(self.status[: self.cut_at])


@contextmanager
def serving(status: bytes = b"", **more: Any) -> Iterator[RasServer]:
    """A server for as long as the block lasts."""
    server = RasServer(status, **more)
    try:
        yield server
    finally:
        server.close()
