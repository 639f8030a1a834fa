"""The door of the API: who may come in, and how failures leave."""

import hashlib
import hmac
import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from gpuwatch_agent.api.address import HostNames
from gpuwatch_agent.api.replies import ProblemError
from gpuwatch_agent.api.settings import ApiSettings
from gpuwatch_agent.model.errors import GpuwatchError, UsageError

ALWAYS_OPEN = frozenset({"/healthz", "/readyz"})
"""Kubelets and load balancers bring no token; these tell them nothing else."""
ALWAYS_CLOSED = ("/v1/probes", "/v1/control")
"""These act on the machine: the token is needed on loopback, too."""
_MATTERING_ONCE = (b"host", b"authorization", b"content-length")

log = logging.getLogger(__name__)


class Guard:
    """Looks at each request once, without standing between the application and its client."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._host_names = HostNames(settings.address, settings.host_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer with the problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = scope["gpuwatch.headers"] = dict(scope["headers"])
            self._check_addressing(scope, headers)
            self._check_body(headers)
            self._check_token(scope["path"], headers)
            await self._app(scope, receive, send)
        except ProblemError as problem:
            await problem.reply(scope, send)
        except UsageError as error:
            await ProblemError(400, "bad-request", error.message, error.action).reply(scope, send)
        except GpuwatchError as error:
            kind = error.kind.replace("_", "-")
            await ProblemError(503, kind, error.message, error.action).reply(scope, send)
        except Exception as error:
            # What happened inside is for the log, not for whoever is at the other end.
            log.exception("%s %s failed", scope["method"], scope["path"])
            await _reply_internal(scope, send, error)

    def _check_addressing(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        pairs = scope["headers"]
        if len(headers) != len(pairs):
            for name in _MATTERING_ONCE:
                if sum(pair[0] == name for pair in pairs) > 1:
                    raise ProblemError(400, "bad-request", f"The header {name.decode()} comes more than once.")
        host = headers.get(b"host")
        if host is None:
            raise ProblemError(400, "bad-request", "The request has no Host header.")
        if not self._host_names.accepts(host):
            raise ProblemError(
                403,
                "foreign-host",
                "The request came under a name that is not this agent's.",
                "Ask by the address it listens on, or add the name to allowed_hosts in its configuration.",
            )
        if b"origin" in headers:
            raise ProblemError(
                403, "foreign-origin", "Requests from web pages are not answered.", "Ask from a program instead."
            )

    def _check_body(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length")
        if length is None:
            return
        if not length.isdigit():
            raise ProblemError(400, "bad-request", "The Content-Length is no number.")
        if len(length) > 12 or int(length) > self._settings.most_body_bytes:
            raise ProblemError(
                413,
                "body-too-large",
                f"A request may bring at most {self._settings.most_body_bytes} bytes.",
                headers=[(b"connection", b"close")],
            )

    def _check_token(self, path: str, headers: dict[bytes, bytes]) -> None:
        acts = path.startswith(ALWAYS_CLOSED)
        if not acts and (path in ALWAYS_OPEN or not self._settings.reading_needs_token):
            return
        expected = self._settings.token_sha256
        if expected is None:
            raise ProblemError(
                403,
                "no-token-configured",
                "This agent has no token, so nothing that needs one is allowed.",
                "Start it with --token-file FILE.",
            )
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(hashlib.sha256(given.strip()).digest(), expected):
            raise ProblemError(
                401,
                "token-needed",
                "The right token is needed for this." if given else "A token is needed for this.",
                "Send it as `Authorization: Bearer TOKEN` (with gpuwatch: --token-file FILE).",
                [(b"www-authenticate", b'Bearer realm="gpuwatch"')],
            )


async def _reply_internal(scope: Scope, send: Send, error: Exception) -> None:
    problem = ProblemError(
        500, "internal", "The agent failed to answer this; it is in its log.", "If it happens again, please report it."
    )
    try:
        await problem.reply(scope, send)
    except (RuntimeError, AssertionError):
        # The response had begun: the server can only cut the connection, and does on an error.
        raise error from None
