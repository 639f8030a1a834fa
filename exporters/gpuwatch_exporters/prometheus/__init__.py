"""`/metrics`: families built from the current frame at scrape time. The driver is never touched by a scrape.

There are no long-lived gauges, so a GPU that is gone leaves no series behind, and what has no value has no sample. A GPU
that is stale or lost has its state and the age of its values, and not those values: they would pass for fresh.
"""

from gpuwatch_agent.model.frame import Frame
from gpuwatch_exporters.prometheus.client_families import families_of
from gpuwatch_exporters.prometheus.encoding import CONTENT_TYPES, LineWriter
from gpuwatch_exporters.prometheus.exposition import NATIVE, Dialect, Exposition
from gpuwatch_exporters.prometheus.family import View
from gpuwatch_exporters.prometheus.negotiation import form_for
from gpuwatch_exporters.prometheus.options import Options, options_from
from gpuwatch_exporters.prometheus.route import MetricsRoute

__all__ = ["MetricsRoute", "Options", "View", "families_of", "options_from", "render"]


def render(
    frame: Frame, accept: str = "", *, options: Options | None = None, age_s: float = 0.0, dialect: Dialect = NATIVE
) -> tuple[bytes, str]:
    """The frame as exposition text, OpenMetrics where that is asked for, and its content type."""
    form = form_for(accept)
    if form not in dialect.forms:
        form = dialect.forms[0]
    view = View(frame=frame, options=options if options is not None else Options())
    exposition = Exposition(view, dialect, LineWriter())
    names = frozenset(subject.name for subject in dialect.subjects)
    return exposition.plain(names, form, age_s), CONTENT_TYPES[form]
