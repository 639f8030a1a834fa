"""Families of series, and the page on which one scrape's samples are written."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.metrics import MetricSpec
from gpuwatch_exporters.prometheus.options import Options

Labels = tuple[str, ...]


class Family(Struct, frozen=True, kw_only=True, eq=False):
    """One family as it is declared; two are the same only where they are one object."""

    name: str
    kind: Literal["gauge", "counter"] = "gauge"
    help: str
    labels: tuple[str, ...] = ()
    source: str = "the agent"
    """Where the value comes from, for the documentation."""
    path: str = ""
    """Its place in the JSON of a frame, where it has one."""
    sparse: bool = False
    """Whether labels without a value are left out of the text; to Prometheus that is the same."""

    @property
    def bare_name(self) -> str:
        """The name without the suffix that every counter has."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


class Page:
    """Samples by family. Labels that come twice are one series: a scrape that held two would be refused as a whole."""

    __slots__ = ("samples",)

    def __init__(self) -> None:
        self.samples: dict[Family, dict[Labels, float]] = {}

    def of(self, family: Family) -> dict[Labels, float]:
        """The samples of a family, to be written to."""
        found = self.samples.get(family)
        if found is None:
            found = self.samples[family] = {}
        return found


class View(Struct, frozen=True, kw_only=True):
    """What is to be told of, and how."""

    frame: Frame
    options: Options = Options()


class Subject(Struct, frozen=True, kw_only=True, eq=False):
    """Families that are about one thing, and how they are filled; a scrape can be cut down to some subjects."""

    name: str
    help: str
    families: tuple[Family, ...]
    writers: tuple[Callable[[View, Page], None], ...]


def family_of(spec: MetricSpec) -> Family:
    """The family of a declared metric."""
    owner = ("gpu", "uuid") if spec.owner == "gpu" else ()
    return Family(
        name=spec.prometheus,
        kind=spec.kind,
        help=spec.help,
        labels=(*owner, *(name for name, _ in spec.labels)),
        source=spec.source,
        path=spec.name,
    )
