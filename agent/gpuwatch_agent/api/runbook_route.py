"""`/v1/runbooks/KIND`: what a kind of finding means and what to do, as Markdown."""

from msgspec import Struct
from starlette.types import Scope, Send

from gpuwatch_agent.api.replies import Plain, ProblemError, send_json, send_reply
from gpuwatch_agent.runbooks import runbook, runbook_kinds

_HEADERS = [(b"content-type", b"text/markdown; charset=utf-8"), (b"cache-control", b"max-age=3600")]


class Runbooks(Struct, frozen=True, kw_only=True):
    """The kinds of findings that have a page."""

    kinds: list[str]


class RunbooksRoute(Plain):
    """The list of pages."""

    async def get(self, scope: Scope, send: Send) -> None:
        """List them."""
        await send_json(scope, send, Runbooks(kinds=runbook_kinds()))


class RunbookRoute(Plain):
    """A page from the package; read from the file, as that is asked for seldom."""

    async def get(self, scope: Scope, send: Send) -> None:
        """Send the page, or say which there are."""
        kind = scope["path_params"]["kind"]
        page = runbook(kind)
        if page is None:
            raise ProblemError(
                404, "no-such-runbook", f"There is no runbook {kind!r}.", f"There are: {', '.join(runbook_kinds())}."
            )
        await send_reply(scope, send, 200, list(_HEADERS), page.encode())
