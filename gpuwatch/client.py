"""An agent's API, asked asynchronously; whatever goes wrong comes out as a sentence."""

import os
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gpuwatch_agent.model.errors import AgentUnreachableError
from gpuwatch_agent.model.frame import SCHEMA, Frame
from gpuwatch_agent.model.topology import Topology

if TYPE_CHECKING:
    import httpx

_CONNECT_S, _READ_S = 3.0, 10.0
# A stream says something every 15 s, even where the agent samples less often.
_STREAM_READ_S = 20.0

T = TypeVar("T", bound=msgspec.Struct)


class AgentSilentError(AgentUnreachableError):
    """The agent could not be asked; `reason` says why in a few words."""

    def __init__(self, message: str, action: str, reason: str) -> None:
        super().__init__(message, action)
        self.reason = reason


class AgentRefusesError(AgentSilentError):
    """Somebody answers, but not to us, or in another language: asking again at once is of no use."""


class _Schema(msgspec.Struct):
    schema: int


class _Problem(msgspec.Struct):
    detail: str | None = None
    title: str | None = None


class AgentClient:
    """One agent. `url` as `agent_url` gives it; connections are kept as long as the client."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        connections: "httpx.AsyncClient | None" = None,
    ) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._shared = connections is not None
        self._client = connections or open_connections(transport, tls=url.startswith("https:"))

    async def get(self, path: str, kind: type[T], parameters: Mapping[str, str] | None = None) -> T:
        """The document at that path."""
        import httpx

        try:
            response = await self._client.get(f"{self.url}{path}", params=parameters, headers=self._headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error, _READ_S) from error
        if response.status_code != 200:
            raise self._refusal(response)
        return self._decode(response.content, kind)

    async def frame(self) -> Frame:
        """The agent's latest moment."""
        return await self.get("/v1/snapshot", Frame)

    async def topology(self) -> Topology:
        """The wiring of the agent's node."""
        return await self.get("/v1/topology", Topology)

    async def stream(self) -> AsyncGenerator[Frame, None]:
        """The agent's latest moment and every one after it, until the connection ends."""
        import httpx

        timeout = httpx.Timeout(_STREAM_READ_S, connect=_CONNECT_S)
        headers = {**self._headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        try:
            async with self._client.stream(
                "GET", f"{self.url}/v1/stream", headers=headers, timeout=timeout
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise self._refusal(response)
                unread = b""
                # Lines are cut at newlines alone: httpx would also cut at separators that names may contain.
                async for piece in response.aiter_bytes():
                    *lines, unread = (unread + piece).split(b"\n")
                    for line in lines:
                        if line.startswith(b"data:"):
                            yield self._decode(line[5:], Frame)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error, _STREAM_READ_S) from error

    async def close(self) -> None:
        """Let go of the connections that are its own."""
        if not self._shared:
            await self._client.aclose()

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            schema = msgspec.json.decode(body, type=_Schema).schema
            if schema == SCHEMA:
                return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AgentRefusesError(
                f"What answers at {self.url} is no gpuwatch agent.",
                "Check address and port; an agent listens on 9489.",
                "no gpuwatch agent",
            ) from error
        raise AgentRefusesError(
            f"The agent at {self.url} speaks schema {schema}, this gpuwatch speaks {SCHEMA}.",
            "Install the same version of gpuwatch on both sides.",
            f"speaks schema {schema}, not {SCHEMA}",
        )

    def _refusal(self, response: "httpx.Response") -> AgentSilentError:
        if response.status_code == 401:
            told = "does not accept this token" if self._headers else "wants a token"
            return AgentRefusesError(
                f"The agent at {self.url} {told}.",
                "Give it with --token-file FILE: the first line of the file that `token_file` names in the agent's configuration.",
                told,
            )
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem()
        detail = (problem.detail or problem.title or response.reason_phrase).rstrip(".")
        if response.status_code == 403:
            return AgentRefusesError(
                f"The agent at {self.url} refuses: {detail}.",
                "Address it by a name in its `allowed_hosts`, and give its token with --token-file FILE.",
                f"refuses: {detail}",
            )
        if response.status_code == 503:
            words = f"has nothing to show yet: {detail}"
            return AgentSilentError(f"The agent at {self.url} {words}.", "Try again.", words)
        return AgentRefusesError(
            f"{self.url} answers {response.status_code} {detail}.",
            "Check that a gpuwatch agent of this version listens there.",
            f"answers {response.status_code} {detail}",
        )

    def _unreachable(self, error: Exception, read_s: float) -> AgentSilentError:
        reason = _reason(error, read_s)
        return AgentSilentError(
            f"No gpuwatch agent answers at {self.url} ({reason}).",
            "Start one there with `gpuwatch agent`, or check address, port and firewall.",
            reason,
        )


def open_connections(transport: "httpx.AsyncBaseTransport | None" = None, *, tls: bool) -> "httpx.AsyncClient":
    """What several clients may share. Without `tls` the certificates of this machine, slow to load, are left alone."""
    import httpx

    return httpx.AsyncClient(
        timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
        # Agents are reached directly: a proxy meant for the internet would answer in their place.
        trust_env=False,
        verify=tls,
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=4.0),
        transport=transport,
    )


def _reason(error: Exception, read_s: float) -> str:
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return f"no answer within {_CONNECT_S:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"it went silent for {read_s:g} s"
    words = _first_words(error)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"its certificate is not trusted here: {words.rpartition('failed: ')[2].partition(' (_ssl')[0]}"
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
        return "it does not speak TLS: try http:// in place of https://"
    if isinstance(error, httpx.RemoteProtocolError):
        return "it broke the connection off"
    words = words.partition("] ")[2] or words  # "[Errno 111] Connection refused"
    return words.rstrip(".") or type(error).__name__


def _first_words(error: BaseException) -> str:
    """What the system said, below the layers that only say that connecting failed."""
    import ssl

    seen: BaseException | None = error
    words = str(error)
    while seen is not None:
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
            continue
        if isinstance(seen, ssl.SSLError):
            words = str(seen)
        elif isinstance(seen, OSError) and seen.errno is not None:
            # Names that can't be resolved have numbers of their own, below zero.
            words = os.strerror(seen.errno) if seen.errno > 0 else seen.strerror or words
        seen = seen.__cause__ or seen.__context__
    return words
