"""A frame as text in one call, for whoever has no server: files for node_exporter, cron, tests."""

from gpuwatch_agent.model.frame import Frame
from gpuwatch_exporters.prometheus.encoding import CONTENT_TYPES, LineWriter
from gpuwatch_exporters.prometheus.exposition import NATIVE, Dialect, Exposition
from gpuwatch_exporters.prometheus.family import View
from gpuwatch_exporters.prometheus.negotiation import form_for
from gpuwatch_exporters.prometheus.options import Options


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
