"""How panels draw: numbers, cells, lines, bars, states over time, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from grafana_foundation_sdk.models import bargauge, common, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import table as table_models

from gpuwatch_dashboards.panel import Look

Steps = Sequence[tuple[float | None, str]]

PLAIN: Steps = ((None, "text"),)
ZERO_IS_GOOD: Steps = ((None, "green"), (1, "red"))
ZERO_IS_GOOD_ENOUGH: Steps = ((None, "green"), (1, "orange"))
ONE_IS_GOOD: Steps = ((None, "red"), (1, "green"))
# Degrees left before the board itself slows down: its own limit, not a number of ours.
DEGREES_LEFT: Steps = ((None, "red"), (1, "orange"), (8, "green"))
BUSY: Steps = ((None, "#3d4451"), (0.05, "#1f4e79"), (0.3, "#2b7bba"), (0.6, "#3a9d5d"), (0.9, "#73bf69"))


def thresholds(steps: Steps) -> model.ThresholdsConfig:
    return model.ThresholdsConfig(
        mode=model.ThresholdsMode.ABSOLUTE, steps=[model.Threshold(value=at, color=colour) for at, colour in steps]
    )


def names(values: Mapping[int | str, tuple[str, str]]) -> list[model.ValueMapping]:
    """Values shown as words: value to text and colour."""
    return [
        model.ValueMap(
            options={
                str(value): model.ValueMappingResult(text=text, color=colour, index=index)
                for index, (value, (text, colour)) in enumerate(values.items())
            }
        )
    ]


SEVERITIES = names({"info": ("info", "blue"), "warning": ("warning", "orange"), "critical": ("critical", "red")})
YES_NO = names({0: ("no", "text"), 1: ("yes", "text")})


def _fields(
    unit: str,
    steps: Steps,
    *,
    custom: object = None,
    lowest: float | None = None,
    highest: float | None = None,
    decimals: float | None = None,
    mappings: list[model.ValueMapping] | None = None,
    links: list[model.DashboardLink] | None = None,
) -> model.FieldConfig:
    return model.FieldConfig(
        unit=unit,
        min_val=lowest,
        max_val=highest,
        decimals=decimals,
        mappings=mappings or [],
        thresholds=thresholds(steps),
        color=model.FieldColor(mode=model.FieldColorModeId.THRESHOLDS),
        links=links,
        custom=custom,
    )


_LAST = common.ReduceDataOptions(calcs=["lastNotNull"], fields="", values=False)


def number(
    unit: str,
    steps: Steps = PLAIN,
    *,
    decimals: float | None = None,
    mappings: list[model.ValueMapping] | None = None,
) -> Look:
    """One figure, or a few with their names."""
    options = stat.Options(
        graph_mode=common.BigValueGraphMode.NONE,
        color_mode=common.BigValueColorMode.VALUE,
        text_mode=common.BigValueTextMode.AUTO,
        reduce_options=_LAST,
    )
    return Look("stat", options, _fields(unit, steps, decimals=decimals, mappings=mappings), instant=True)


def cells(
    unit: str,
    steps: Steps,
    *,
    mappings: list[model.ValueMapping] | None = None,
    links: list[model.DashboardLink] | None = None,
) -> Look:
    """A coloured cell a series, with its name."""
    options = stat.Options(
        graph_mode=common.BigValueGraphMode.NONE,
        color_mode=common.BigValueColorMode.BACKGROUND_SOLID,
        justify_mode=common.BigValueJustifyMode.CENTER,
        text_mode=common.BigValueTextMode.VALUE_AND_NAME,
        text=common.VizTextDisplayOptions(title_size=11, value_size=15),
        reduce_options=_LAST,
    )
    return Look("stat", options, _fields(unit, steps, mappings=mappings, links=links), instant=True)


def bars(
    unit: str, steps: Steps, *, highest: float | None = None, links: list[model.DashboardLink] | None = None
) -> Look:
    """A bar a series, the figure beside it."""
    options = bargauge.Options(
        display_mode=common.BarGaugeDisplayMode.BASIC,
        orientation=common.VizOrientation.HORIZONTAL,
        reduce_options=_LAST,
    )
    return Look("bargauge", options, _fields(unit, steps, lowest=0, highest=highest, links=links), instant=True)


def lines(
    unit: str,
    *,
    lowest: float | None = 0,
    highest: float | None = None,
    links: list[model.DashboardLink] | None = None,
    limit: str | None = None,
) -> Look:
    """A line a series over time; series whose name matches `limit` are dashed, because they are limits."""
    drawn = common.GraphFieldConfig(
        draw_style=common.GraphDrawStyle.LINE,
        line_interpolation=common.LineInterpolation.LINEAR,
        line_width=1,
        fill_opacity=0,
        show_points=common.VisibilityMode.AUTO,
        # What was not measured is a gap, not a line.
        span_nulls=False,
    )
    defaults = _fields(unit, PLAIN, custom=drawn, lowest=lowest, highest=highest, links=links)
    defaults.color = model.FieldColor(mode=model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)
    options = timeseries.Options(
        legend=common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.TABLE,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=True,
            calcs=["lastNotNull", "max"],
        ),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING),
    )
    overrides = [] if limit is None else [_dashed(limit)]
    return Look("timeseries", options, defaults, overrides)


def _dashed(pattern: str) -> model.DashboardFieldConfigSourceOverrides:
    return model.DashboardFieldConfigSourceOverrides(
        matcher=model.MatcherConfig(id_val="byRegexp", options=pattern),
        properties=[
            model.DynamicConfigValue(id_val="custom.lineStyle", value=common.LineStyle(fill="dash", dash=[6, 6])),
            model.DynamicConfigValue(
                id_val="color", value=model.FieldColor(mode=model.FieldColorModeId.FIXED, fixed_color="red")
            ),
        ],
    )


def timeline(steps: Steps, mappings: list[model.ValueMapping], links: list[model.DashboardLink] | None = None) -> Look:
    """A band a series over time, coloured by its state."""
    drawn = statetimeline.FieldConfig(line_width=0, fill_opacity=80)
    options = statetimeline.Options(
        show_value=common.VisibilityMode.AUTO,
        merge_values=True,
        legend=common.VizLegendOptions(show_legend=False),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.SINGLE),
    )
    return Look("state-timeline", options, _fields("none", steps, custom=drawn, mappings=mappings, links=links))


class Column:
    """How one column of a table draws; a column that needs nothing needs none of these."""

    def __init__(
        self,
        *,
        unit: str | None = None,
        steps: Steps | None = None,
        mappings: list[model.ValueMapping] | None = None,
        links: list[model.DashboardLink] | None = None,
        bar_to: float | None = None,
    ) -> None:
        self.properties = list(_column_properties(unit, steps, mappings, links, bar_to))


def _column_properties(
    unit: str | None,
    steps: Steps | None,
    mappings: list[model.ValueMapping] | None,
    links: list[model.DashboardLink] | None,
    bar_to: float | None,
) -> list[model.DynamicConfigValue]:
    said: dict[str, object] = {}
    if unit is not None:
        said["unit"] = unit
    if steps is not None:
        said["thresholds"] = thresholds(steps)
    if mappings is not None:
        said["mappings"] = mappings
    if links is not None:
        said["links"] = links
    if bar_to is not None:
        said |= {"min": 0, "max": bar_to}
        said["custom.cellOptions"] = common.TableBarGaugeCellOptions(mode=common.BarGaugeDisplayMode.BASIC)
    elif steps is not None or mappings is not None:
        said["custom.cellOptions"] = common.TableColoredBackgroundCellOptions(
            mode=common.TableCellBackgroundDisplayMode.BASIC
        )
    return [model.DynamicConfigValue(id_val=name, value=value) for name, value in said.items()]


_NEVER_SHOWN = ("Time", "__name__", "job", "uuid", "endpoint", "service", "prometheus")


def table(
    columns: Mapping[str, Column],
    *,
    values: Mapping[str, str],
    hidden: Sequence[str] = (),
    first: Sequence[str] = (),
    sort_by: str | None = None,
) -> Look:
    """A row a series; `values` names the value columns as Grafana calls them (`Value`, or `Value #A` and on)."""
    order: dict[str, object] = {name: index for index, name in enumerate(first)}
    organised: dict[str, object] = {
        "excludeByName": dict.fromkeys((*_NEVER_SHOWN, *hidden), True),
        "indexByName": order,
        "renameByName": dict(values),
    }
    steps = [model.DataTransformerConfig(id_val="organize", options=organised)]
    if len(values) > 1:
        steps.insert(0, model.DataTransformerConfig(id_val="merge", options={}))
    overrides = [
        model.DashboardFieldConfigSourceOverrides(
            matcher=model.MatcherConfig(id_val="byName", options=name), properties=column.properties
        )
        for name, column in columns.items()
    ]
    options = _table_options(sort_by)
    custom = common.TableFieldOptions(filterable=True, cell_options=common.TableAutoCellOptions())
    defaults = _fields("none", PLAIN, custom=custom)
    return Look("table", options, defaults, overrides, steps, instant=True, as_table=True)


def _table_options(sort_by: str | None) -> table_models.Options:
    chosen = [common.TableSortByFieldState(display_name=sort_by, desc=True)] if sort_by else None
    return table_models.Options(show_header=True, sort_by=chosen, cell_height=common.TableCellHeight.SM)


def with_no_value(look: Look, words: str) -> Look:
    """The look of a panel that is empty where all is well, and says so."""
    defaults = look.defaults
    defaults.no_value = words
    return replace(look, defaults=defaults)
