"""What a dashboard is made of, before it is Grafana's."""

from dataclasses import dataclass, field

from grafana_foundation_sdk.models import dashboard as model


@dataclass(frozen=True)
class Query:
    """One PromQL query; `scenario` is the simulated machine on which it must return data (empty: the panel's)."""

    expr: str
    legend: str = ""
    scenario: str = ""


@dataclass(frozen=True)
class Look:
    """How a panel draws: Grafana's own types, without place or queries."""

    kind: str
    options: object
    defaults: model.FieldConfig
    overrides: list[model.DashboardFieldConfigSourceOverrides] = field(default_factory=list)
    transformations: list[model.DataTransformerConfig] = field(default_factory=list)
    instant: bool = False
    as_table: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel: what it answers, its queries, and the machine on which they must return data."""

    title: str
    about: str
    look: Look
    queries: tuple[Query, ...]
    scenario: str
    width: int = 8
    height: int = 8

    def scenario_of(self, query: Query) -> str:
        return query.scenario or self.scenario


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard, written to `NAME.json`."""

    name: str
    title: str
    about: str
    variables: tuple[model.VariableModel, ...]
    rows: tuple[Row, ...]

    @property
    def uid(self) -> str:
        return f"gpuwatch-{self.name}"

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)
