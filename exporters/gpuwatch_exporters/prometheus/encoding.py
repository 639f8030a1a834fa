"""Samples as lines of text, byte for byte as prometheus-client writes them, and some ten times faster.

Both formats have the same lines for the same samples; only what stands above a counter and at the very end differs.
A line but for its value is the same from scrape to scrape, so it is kept.
"""

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import Literal

from gpuwatch_exporters.prometheus.family import Family, Labels, Page

Form = Literal["text", "openmetrics"]
CONTENT_TYPES: dict[Form, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
ENDS: dict[Form, bytes] = {"text": b"", "openmetrics": b"# EOF\n"}

LONGEST_LABEL = 256
"""Names and titles are what a user makes them: one process must not fill a scrape."""
_EXACT_BELOW = 1e6
_COMMON: dict[float, str] = {0.0: "0.0", 1.0: "1.0"}

Block = tuple[Family, str]
"""A family with all its lines."""


class LineWriter:
    """Writes samples and keeps the beginnings of lines; forgets them all once there are too many old ones."""

    def __init__(self, most_kept: int = 20_000) -> None:
        self._most_kept = most_kept
        self._kept = 0
        self._beginnings: dict[Family, dict[Labels, str]] = {}
        self._mended: set[Family] = set()
        """Families of which a label could not be sent as it is: mended, two may have become one."""

    def blocks(self, page: Page) -> list[Block]:
        """The page's families with their lines, those without samples left out."""
        if self._kept > self._most_kept:
            self._beginnings.clear()
            self._kept = 0
        return [(family, self._lines(family, samples)) for family, samples in page.samples.items() if samples]

    def _lines(self, family: Family, samples: dict[Labels, float]) -> str:
        known = self._beginnings.get(family)
        if known is None:
            known = self._beginnings[family] = {}
        lines: list[str] = []
        for labels, value in samples.items():
            beginning = known.get(labels)
            if beginning is None:
                beginning = known[labels] = beginning_of(family, labels)
                self._kept += 1
                if any(clean(label) is not label for label in labels):
                    self._mended.add(family)
            lines.append(beginning)
            lines.append(_COMMON.get(value) or number(value))
            lines.append("\n")
        if family in self._mended:
            lines = _each_once(lines)
        return "".join(lines)


def _each_once(lines: list[str]) -> list[str]:
    """Beginnings, values and ends of lines, the first of each series."""
    values: dict[str, str] = {}
    for place in range(0, len(lines), 3):
        values.setdefault(lines[place], lines[place + 1])
    return [part for beginning, value in values.items() for part in (beginning, value, "\n")]


def beginning_of(family: Family, labels: Labels) -> str:
    """The line up to its value."""
    if not labels:
        return f"{family.name} "
    pairs = sorted(zip(family.labels, labels, strict=True))
    inside = ",".join(f'{name}="{_escaped(clean(value))}"' for name, value in pairs)
    return f"{family.name}{{{inside}}} "


def clean(value: str) -> str:
    """A label's value as it may be sent: valid UTF-8, and not longer than is useful."""
    if len(value) > LONGEST_LABEL:
        value = value[: LONGEST_LABEL - 1] + "…"
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate, as a name that is not UTF-8 leaves it
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """A value as Go writes it, exponents from a million on."""
    value = float(value)
    if value < _EXACT_BELOW:
        return repr(value) if isfinite(value) else "-Inf"
    if value == inf:
        return "+Inf"
    if value != value:  # noqa: PLR0124  # what is not equal to itself is no number
        return "NaN"
    digits = repr(value)
    dot = digits.find(".")
    if dot <= 1:  # Python has an exponent of its own from 1e16 on
        return digits
    mantissa = f"{digits[0]}.{digits[1:dot]}{digits[dot + 1 :]}".rstrip("0.")
    return f"{mantissa}e+{dot - 1:02d}"


def head_of(family: Family, form: Form) -> str:
    """What stands above a family's lines; in OpenMetrics a counter's suffix belongs to its samples."""
    name = family.bare_name if form == "openmetrics" else family.name
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"


def as_bytes(blocks: Iterable[Block], form: Form) -> bytes:
    """Families in one form, without the end mark."""
    return "".join([part for family, lines in blocks for part in (head_of(family, form), lines)]).encode()


def count_series(blocks: Sequence[Block]) -> int:
    """How many samples the families have."""
    return sum(lines.count("\n") for _, lines in blocks)
