"""A plain webhook: the message as JSON by POST.

By the standard library's client: httpx would add 20 MiB to an agent that sends a message a week.
"""

import threading
from base64 import b64encode
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import SHUT_RDWR
from typing import Self
from urllib.parse import unquote, urlsplit

import msgspec

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.message import Message
from gpuwatch_agent.notify.redact import scrub, shown_address
from gpuwatch_agent.notify.target import DeliveryError, may_pass

_MOST_PATIENCE_S = 3600.0


class WebhookTarget:
    """One URL; redirects are not followed and proxies not used."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or parts.scheme not in {"http", "https"}:
            raise UsageError(
                "notify.webhook is no http:// or https:// address.", "As in https://alerts.example.org/gpu."
            )
        self._url = url
        self._https = parts.scheme == "https"
        self._host, self._port = host, port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "User-Agent": "gpuwatch"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        self.name = f"webhook {shown_address(url, host=True)}"

    def send(self, message: Message) -> None:
        """One POST, over within the time-out whatever the receiver does."""
        kind = HTTPSConnection if self._https else HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        # A drop a second keeps every single read in time; the alarm ends the whole.
        with _Alarm(connection, self._timeout_s) as alarm:
            try:
                connection.request("POST", self._path, msgspec.json.encode(message), self._headers)
                response = connection.getresponse()
            except (OSError, HTTPException, ValueError) as error:
                late = alarm.rang.is_set() or isinstance(error, TimeoutError)
                raise self._late() if late else self._broken(error) from None
            with response:  # its body is nobody's business
                if alarm.rang.is_set():
                    raise self._late()
                _judge(response)

    def _late(self) -> DeliveryError:
        return DeliveryError(f"no whole answer within {self._timeout_s:g} s", again=True)

    def _broken(self, error: Exception) -> DeliveryError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return DeliveryError(scrub(str(reason), self._url, host=True), again=True)


class _Alarm:
    """Cuts a connection when its time is up, and closes it in any case."""

    def __init__(self, connection: HTTPConnection, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self.rang = threading.Event()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._connection.close()

    def _ring(self) -> None:
        self.rang.set()
        if self._connection.sock is not None:
            with suppress(OSError):
                self._connection.sock.shutdown(SHUT_RDWR)


def _judge(response: HTTPResponse) -> None:
    """What the status says."""
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryError(f"it answers {status}, which points elsewhere: write that address instead", again=False)
    asked = response.headers.get("Retry-After", "")
    wait_s = min(float(asked), _MOST_PATIENCE_S) if asked.isascii() and asked.isdecimal() else 0.0
    raise DeliveryError(f"it answers {status} {response.reason}".strip(), again=may_pass(status), not_before_s=wait_s)
