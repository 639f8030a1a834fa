"""From a board to the JSON that Grafana reads."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus

from gpuwatch_dashboards import links
from gpuwatch_dashboards.panel import Board, Panel, Query
from gpuwatch_dashboards.promql import NODES
from gpuwatch_dashboards.variables import SOURCE

# Grafana 10.4's; later ones bring it up to date when they load it.
_SCHEMA_VERSION = 39
_WIDTH = 24

# The Prometheus data source's own words for an annotation, which Grafana's common schema does not list.
ANNOTATION_WORDS: dict[str, str | bool] = {
    "titleFormat": "{{kind}} ({{severity}})",
    "textFormat": "{{instance}} GPU {{gpu}}",
    "tagKeys": "severity,kind,instance",
    "useValueForTime": True,
}


def _target(panel: Panel, query: Query, index: int) -> prometheus.Dataquery:
    table = prometheus.PromQueryFormat.TABLE
    return prometheus.Dataquery(
        expr=query.expr,
        instant=panel.look.instant,
        range_val=not panel.look.instant,
        format_val=table if panel.look.as_table else prometheus.PromQueryFormat.TIME_SERIES,
        legend_format=query.legend or "__auto",
        ref_id=chr(ord("A") + index),
        datasource=SOURCE,
        editor_mode=prometheus.QueryEditorMode.CODE,
    )


def _panel(panel: Panel, number: int, place: model.GridPos) -> model.Panel:
    look = panel.look
    return model.Panel(
        type_val=look.kind,
        id_val=number,
        title=panel.title,
        description=panel.about,
        datasource=SOURCE,
        grid_pos=place,
        targets=[_target(panel, query, index) for index, query in enumerate(panel.queries)],
        options=look.options,
        field_config=model.FieldConfigSource(defaults=look.defaults, overrides=look.overrides),
        transformations=look.transformations,
    )


def _placed(board: Board) -> list[model.Panel | model.RowPanel]:
    """Panels from left to right, a new line where the next one would not fit, a title above every row."""
    placed: list[model.Panel | model.RowPanel] = []
    top = 0
    for row in board.rows:
        placed.append(
            model.RowPanel(title=row.title, id_val=len(placed) + 1, grid_pos=model.GridPos(h=1, w=_WIDTH, x=0, y=top))
        )
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top, tallest = 0, top + tallest, 0
            place = model.GridPos(h=panel.height, w=panel.width, x=left, y=top)
            placed.append(_panel(panel, len(placed) + 1, place))
            left += panel.width
            tallest = max(tallest, panel.height)
        top += tallest
    return placed


def _findings_annotation() -> model.AnnotationQuery:
    return model.AnnotationQuery(
        name="Findings",
        datasource=SOURCE,
        enable=True,
        icon_color="orange",
        expr=f"1000 * gpuwatch_finding_since_timestamp_seconds{{{NODES}}}",
    )


def document(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana imports and provisions it."""
    whole = model.Dashboard(
        uid=board.uid,
        title=board.title,
        description=board.about,
        tags=["gpuwatch"],
        timezone="browser",
        editable=True,
        graph_tooltip=model.DashboardCursorSync.CROSSHAIR,
        time=model.DashboardDashboardTime(from_val="now-1h", to="now"),
        refresh="30s",
        schema_version=_SCHEMA_VERSION,
        panels=_placed(board),
        templating=model.DashboardDashboardTemplating(list_val=list(board.variables)),
        annotations=model.AnnotationContainer(list_val=[_findings_annotation()]),
        links=links.to_the_others(),
    )
    decoded: dict[str, Any] = json.loads(json.dumps(whole, cls=JSONEncoder))
    decoded["annotations"]["list"][0] |= ANNOTATION_WORDS
    return decoded


def text(board: Board) -> str:
    """The file's content."""
    return json.dumps(document(board), indent=1, ensure_ascii=False) + "\n"
