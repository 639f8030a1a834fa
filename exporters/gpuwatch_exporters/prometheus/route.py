"""`/metrics`: families built from the current frame at scrape time. The driver is never touched by a scrape.

There are no long-lived gauges, so a GPU that is gone leaves no series behind, and what has no value has no sample. A GPU
that is stale or lost has its state and the age of its values, and not those values: they would pass for fresh.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from time import perf_counter

from starlette.types import Scope, Send

from gpuwatch_agent.api.frame_routes import no_frame_yet
from gpuwatch_agent.api.queries import names, single_values
from gpuwatch_agent.api.replies import WORTH_COMPRESSING, Plain, ProblemError, headers_of, send_reply, wants_gzip
from gpuwatch_agent.hub import FrameHub, Published
from gpuwatch_exporters.prometheus.encoding import CONTENT_TYPES, LineWriter
from gpuwatch_exporters.prometheus.exposition import NATIVE, Dialect, Exposition
from gpuwatch_exporters.prometheus.family import Subject, View
from gpuwatch_exporters.prometheus.negotiation import form_for
from gpuwatch_exporters.prometheus.node import old_after_s
from gpuwatch_exporters.prometheus.options import Options

DIALECTS: dict[str, Dialect] = {"native": NATIVE}
"""What `?format=` chooses from, the first where nothing is said."""

_PARAMETERS = ("format", "collect[]", "exclude[]")
_TIMEOUT = b"x-prometheus-scrape-timeout-seconds"


class MetricsRoute(Plain):
    """Answers scrapes from the newest frame; the driver is never touched, and a second scrape costs next to nothing."""

    def __init__(
        self,
        hub: FrameHub,
        options: Options | None = None,
        *,
        dialects: Mapping[str, Dialect] = DIALECTS,
        default: str = "native",
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._hub = hub
        self._options = options if options is not None else Options()
        self._dialects = dialects
        self._default = default
        self._clock = clock
        self._writers = {name: LineWriter() for name in dialects}
        self._of: tuple[Published, bool] | None = None
        self._made: dict[str, Exposition] = {}

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer a scrape."""
        check = self._deadline(headers_of(scope).get(_TIMEOUT, b""))
        given = single_values(scope["query_string"], _PARAMETERS, _PARAMETERS[1:], "/metrics knows")
        name = given.get("format", self._default)
        dialect = self._dialects.get(name)
        if dialect is None:
            known = ", ".join(self._dialects)
            raise ProblemError(
                400, "unknown-format", f"There is no format called {name[:80]!r}.", f"There are: {known}."
            )
        subjects = chosen_subjects(dialect.subjects, names(given, "collect[]"), names(given, "exclude[]"))
        published = self._hub.newest
        if published is None:
            raise no_frame_yet()
        age_s = max(0.0, self._hub.clock() - published.at_monotonic)
        exposition = self._exposition(published, name, age_s)
        form = form_for(headers_of(scope).get(b"accept", b"").decode("latin-1"))
        if form not in dialect.forms:
            form = dialect.forms[0]
        headers = [
            (b"content-type", CONTENT_TYPES[form].encode()),
            (b"cache-control", b"no-store"),
            (b"vary", b"accept, accept-encoding"),
        ]
        body = exposition.plain(subjects, form, age_s, check=check)
        if wants_gzip(scope) and len(body) >= WORTH_COMPRESSING:
            body = exposition.zipped(subjects, form, age_s, check=check)
            headers.append((b"content-encoding", b"gzip"))
        check()
        await send_reply(scope, send, 200, headers, body)

    def _exposition(self, published: Published, name: str, age_s: float) -> Exposition:
        """What has been made of this frame, or a beginning; one that has become old is made anew without its values."""
        old = age_s > old_after_s(published.frame)
        if self._of is None or self._of[0] is not published or self._of[1] != old:
            self._of, self._made = (published, old), {}
        found = self._made.get(name)
        if found is None:
            view = View(frame=published.frame, options=self._options)
            found = self._made[name] = Exposition(view, self._dialects[name], self._writers[name], old=old)
        return found

    def _deadline(self, given: bytes) -> Callable[[], None]:
        """Raises once the scraper has stopped waiting; without a header that makes sense it never does."""
        try:
            timeout_s = float(given) if given else 0.0
        except ValueError:
            timeout_s = 0.0
        if not isfinite(timeout_s) or timeout_s <= 0:
            return lambda: None
        end = self._clock() + timeout_s

        def check() -> None:
            if self._clock() > end:
                raise ProblemError(
                    503,
                    "scrape-timeout",
                    f"The scrape took longer than the {timeout_s:g} s that the scraper waits.",
                    "Raise scrape_timeout, or ask for less with collect[] or exclude[].",
                )

        return check


def chosen_subjects(
    subjects: Sequence[Subject], collect: Sequence[str] | None, exclude: Sequence[str] | None
) -> frozenset[str]:
    """The names that a scrape asks for; a problem that lists all where one is unknown."""
    known = [subject.name for subject in subjects]
    for name in (*(collect or ()), *(exclude or ())):
        if name not in known:
            raise ProblemError(
                400,
                "unknown-subject",
                f"There is nothing called {name[:80]!r} to collect.",
                f"There are: {', '.join(known)}.",
            )
    return frozenset(known if collect is None else collect) - frozenset(exclude or ())
