"""A remote agent's API as a source of frames."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gpuwatch_agent.model.errors import AgentUnreachableError, UsageError
from gpuwatch_agent.model.frame import SCHEMA, Frame, Trouble
from gpuwatch_agent.model.topology import Topology

if TYPE_CHECKING:
    import httpx

DEFAULT_PORT = 9489
_CONNECT_S, _READ_S = 3.0, 10.0
_RETRY_S = 2.0

T = TypeVar("T", bound="Frame | Topology")


class _Schema(msgspec.Struct):
    schema: int


class _Problem(msgspec.Struct):
    detail: str | None = None
    title: str | None = None


def agent_url(written: str) -> str:
    """node07 → http://node07:9489; a full URL stays as it is."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(written if "://" in written else f"//{written}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in {"", "http", "https"}:
        raise UsageError(f"--connect can't make sense of {written!r}.", "Write it as node07 or http://node07:9489.")
    if parts.scheme:
        return written.rstrip("/")
    return f"http://{f'[{host}]' if ':' in host else host}:{port or DEFAULT_PORT}"


class RemoteSource:
    """Frames of the node where an agent answers."""

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        transport: "httpx.BaseTransport | None" = None,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        import httpx

        self._url = agent_url(url)
        self._token_given = token_file is not None
        headers = {"Authorization": f"Bearer {_read_token(token_file)}"} if token_file is not None else {}
        timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
        # Agents are reached directly: a proxy meant for the internet would answer in their place.
        self._client = httpx.Client(
            base_url=self._url, headers=headers, timeout=timeout, trust_env=False, transport=transport
        )
        self._wait = wait

    def frame(self, *, rates: bool) -> Frame:
        """The agent's latest moment; an agent always has its rates."""
        del rates
        return self._get("/v1/snapshot", Frame)

    def topology(self) -> Topology:
        """The wiring of the agent's node."""
        return self._get("/v1/topology", Topology)

    def frames(self, interval_s: float) -> Iterator[Frame]:
        """The agent's stream, thinned to the interval; when it breaks the last frame is kept, with the trouble told."""
        last = self.frame(rates=True)
        yield last
        shown_at = last.taken_at
        while True:
            try:
                for frame in self.stream():
                    if abs(frame.taken_at - shown_at) >= interval_s * 0.95:
                        yield frame
                        shown_at = frame.taken_at
                    last = frame
            except AgentUnreachableError as error:
                trouble = Trouble(
                    kind=error.kind, message=error.message, action="Shown is the last that was heard; trying again."
                )
                yield msgspec.structs.replace(last, trouble=trouble)
            self._pause()

    def stream(self) -> Iterator[Frame]:
        """Every frame the agent publishes, until the connection ends."""
        import httpx

        try:
            with self._client.stream("GET", "/v1/stream", headers={"Accept": "text/event-stream"}) as response:
                if response.status_code != 200:
                    response.read()
                    self._refuse(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield self._decode(line[5:].strip().encode(), Frame)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _pause(self) -> None:
        if self._wait is not None:
            self._wait(_RETRY_S)
            return
        import time

        time.sleep(_RETRY_S)

    def _get(self, path: str, kind: type[T]) -> T:
        import httpx

        try:
            response = self._client.get(path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            self._refuse(response)
        return self._decode(response.content, kind)

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            schema = msgspec.json.decode(body, type=_Schema).schema
            if schema == SCHEMA:
                return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise AgentUnreachableError(
                f"What answers at {self._url} is no gpuwatch agent.",
                "Check address and port; an agent listens on 9489.",
            ) from error
        raise AgentUnreachableError(
            f"The agent at {self._url} speaks schema {schema}, this gpuwatch speaks {SCHEMA}.",
            "Install the same version of gpuwatch on both sides.",
        )

    def _refuse(self, response: "httpx.Response") -> None:
        if response.status_code == 401:
            told = "does not accept this token" if self._token_given else "wants a token"
            raise AgentUnreachableError(
                f"The agent at {self._url} {told}.",
                "Give it with --token-file FILE: the first line of the file that `token_file` names in the agent's configuration.",
            )
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem()
        detail = problem.detail or problem.title or response.reason_phrase
        if response.status_code == 403:
            raise AgentUnreachableError(
                f"The agent at {self._url} refuses: {detail.rstrip('.')}.",
                "Address it by a name in its `allowed_hosts`, and give its token with --token-file FILE.",
            )
        if response.status_code == 503:
            raise AgentUnreachableError(
                f"The agent at {self._url} has nothing to show yet: {detail.rstrip('.')}.", "Try again."
            )
        raise AgentUnreachableError(
            f"{self._url} answers {response.status_code} {detail.rstrip('.')}.",
            "Check that a gpuwatch agent of this version listens there.",
        )

    def _unreachable(self, error: "httpx.HTTPError") -> AgentUnreachableError:
        import httpx

        if isinstance(error, httpx.ConnectTimeout):
            reason = f"no answer within {_CONNECT_S:g} s"
        elif isinstance(error, httpx.TimeoutException):
            reason = f"it went silent for {_READ_S:g} s"
        else:
            words = str(error).partition("] ")[2] or str(error)  # "[Errno 111] Connection refused"
            reason = words.rstrip(".") or type(error).__name__
        return AgentUnreachableError(
            f"No gpuwatch agent answers at {self._url} ({reason}).",
            "Start one there with `gpuwatch agent`, or check address, port and firewall.",
        )


def _read_token(token_file: str) -> str:
    try:
        text = Path(token_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not text"
        raise UsageError(
            f"The token file {token_file} can't be read: {reason.lower()}.", "Check its path and rights."
        ) from error
    token = text.strip().partition("\n")[0].strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"The first line of the token file {token_file} is not a token.", "Put the agent's token there."
        )
    return token
