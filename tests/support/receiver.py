"""A real HTTP server on loopback that receives messages, well or badly."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Self

import msgspec

OK = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
HANG = b"hang"
DRIP = b"drip"


def status(code: int, headers: str = "") -> bytes:
    """A whole answer with that status."""
    return f"HTTP/1.1 {code} Odd\r\n{headers}Content-Length: 4\r\n\r\nbody".encode()


class Receiver:
    """Answers each request with the next of `answers`, the last for ever; half an answer is cut off there."""

    def __init__(self, answers: Sequence[bytes] = (OK,)) -> None:
        self.answers = list(answers)
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self._ended = threading.Event()
        self._heard = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._listen, daemon=True)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def messages(self, count: int) -> list[Any]:
        """The first messages as JSON; waits until they are there."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.bodies) >= count, 20), f"only {len(self.bodies)} came"
            return [msgspec.json.decode(body) for body in self.bodies]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # Closing alone does not wake who accepts.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            client, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = client.recv(65536)
                if not chunk:
                    return
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            while len(body) < length:
                body += client.recv(65536)
            with self._heard:
                answer = self.answers[min(len(self.bodies), len(self.answers) - 1)]
                self.heads.append(head.decode())
                self.bodies.append(body)
                self._heard.notify_all()
            self._answer(client, answer)

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        if answer == HANG:
            self._ended.wait(20)
        elif answer == DRIP:
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            for letter in "X-Drip: " + "x" * 1000:
                if self._ended.wait(0.02):
                    return
                client.sendall(letter.encode())
        else:
            client.sendall(answer)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port where nobody listens, kept from others meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])
