"""Which form a scraper gets: OpenMetrics where it prefers that and speaks our version of it, else plain text."""

from functools import lru_cache
from math import isfinite

from gpuwatch_exporters.prometheus.encoding import Form

_LONGEST = 4096
_OPENMETRICS = "application/openmetrics-text"
_TEXTS = {"text/plain", "text/*", "*/*"}


def form_for(accept: str) -> Form:
    """The form that an Accept header asks for; what makes no sense asks for nothing, and gets text."""
    return _form(accept[:_LONGEST])


@lru_cache(maxsize=64)
def _form(accept: str) -> Form:
    openmetrics = text = 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        given = dict(_pair(parameter) for parameter in parameters)
        weight = _weight(given.get("q", "1"))
        if kind == _OPENMETRICS and given.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif kind in _TEXTS:
            text = max(text, weight)
    return "openmetrics" if openmetrics and openmetrics >= text else "text"


def _pair(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip(), value.strip().strip('"')


def _weight(given: str) -> float:
    try:
        weight = float(given)
    except ValueError:
        return 0.0
    return weight if isfinite(weight) and 0 <= weight <= 1 else 0.0
