"""A small HTTP load generator on raw keep-alive sockets, light enough not to be what is measured."""

import http.client
import selectors
import socket
import time
from collections.abc import Callable


class Connection:
    """One keep-alive connection that has at most one request under way."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
        self._received = bytearray()
        self._wanted: int | None = None

    def send(self) -> None:
        """Ask once more."""
        self._received.clear()
        self._wanted = None
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Take in what has come; whether the answer is complete."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._received += part
        if self._wanted is None:
            self._wanted = self._length()
        return self._wanted is not None and len(self._received) >= self._wanted

    def _length(self) -> int | None:
        """Head and body together, once the head is there."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._received[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise ConnectionError(f"the server answered {head[:60].decode(errors='replace')}")
        length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        return end + 4 + int(length)

    def get(self) -> bytes:
        """One request, waited for; the body."""
        self.send()
        while not self.receive():
            pass
        return bytes(self._received).partition(b"\r\n\r\n")[2]


def requests_per_s(port: int, path: str, connections: int, seconds: float) -> float:
    """How many answers a second, with every connection asking again as soon as it was answered."""
    open_connections = [Connection(port, path) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for connection in open_connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send()
        began, answered = time.perf_counter(), 0
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in selector.select(timeout=5):
                if key.data.receive():
                    answered += 1
                    key.data.send()
    for connection in open_connections:
        connection.socket.close()
    return answered / (now - began)


def latencies_ms(port: int, path: str, per_second: float, seconds: float) -> list[float]:
    """From when a request was due until its answer was there, so that a stall counts for all that it delays."""
    connection = Connection(port, path)
    connection.get()
    began, waited = time.perf_counter(), []
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.get()
        waited.append((time.perf_counter() - due) * 1000)
    connection.socket.close()
    return waited


def fetch(port: int, path: str) -> bytes:
    """One request on a connection of its own, as a scraper makes it, whatever HTTP version the server speaks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ConnectionError(f"the server answered {answer.status} to {path}")
        return answer.read()
    finally:
        connection.close()


def every_second(do: Callable[[], object], seconds: float) -> None:
    """Do something at 1 Hz, for a while."""
    began = time.monotonic()
    for number in range(int(seconds)):
        time.sleep(max(0.0, began + number - time.monotonic()))
        do()
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
