"""Grafana's schema of a dashboard, as its own generated types have it, held against JSON."""

import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)

# Kinds of panels have their own schema for `options` and `fieldConfig.defaults.custom`; nothing here is an Angular panel.
_OPTIONS: dict[str, Any] = {
    "stat": stat.Options,
    "bargauge": bargauge.Options,
    "timeseries": timeseries.Options,
    "state-timeline": statetimeline.Options,
    "table": table.Options,
}
_CUSTOM: dict[str, Any] = {
    "timeseries": common.GraphFieldConfig,
    "state-timeline": statetimeline.FieldConfig,
    "table": common.TableFieldOptions,
}
# Keys that Grafana itself writes with an underscore.
_AS_THEY_ARE = {"auto_min", "auto_count"}
_TRANSFORMATIONS = {"organize", "merge"}


def faults(document: dict[str, Any]) -> list[str]:
    """Where the dashboard departs from the schema; nothing where it does not."""
    return [*_against(document, dashboard.Dashboard, "dashboard"), *_of_panels(document)]


def _of_panels(document: dict[str, Any]) -> Iterator[str]:
    for panel in document["panels"]:
        kind, path = panel["type"], f"panel {panel['title']!r}"
        if kind == "row":
            continue
        if kind not in _OPTIONS:
            yield f"{path}: there is no panel {kind!r} here"
            continue
        yield from _against(panel["options"], _OPTIONS[kind], f"{path} options")
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if kind in _CUSTOM:
            yield from _against(custom, _CUSTOM[kind], f"{path} custom")
        elif custom:
            yield f"{path}: a {kind} has nothing custom"
        used = {step["id"] for step in panel.get("transformations", [])}
        yield from (f"{path}: transformation {name!r}" for name in used - _TRANSFORMATIONS)


def _against(value: object, hint: Any, path: str) -> Iterator[str]:
    origin = typing.get_origin(hint)
    if hint in {object, Any}:
        return
    if origin in {typing.Union, types.UnionType}:
        # Where no branch fits, what is wrong with the nearest one.
        branches = [one for one in typing.get_args(hint) if value is None or one is not type(None)]
        yield from min((list(_against(value, one, path)) for one in branches), key=len)
    elif origin is list:
        yield from _of_list(value, typing.get_args(hint)[0], path)
    elif origin is dict:
        yield from _of_mapping(value, typing.get_args(hint)[1], path)
    elif origin is typing.Literal:
        if value not in typing.get_args(hint):
            yield f"{path}: {value!r} is none of {typing.get_args(hint)}"
    elif hint is variants.Dataquery:
        yield from _of_object(value, prometheus.Dataquery, path)
    else:
        yield from _of_type(value, hint, path)


def _of_type(value: object, hint: Any, path: str) -> Iterator[str]:
    if issubclass(hint, enum.Enum):
        if value not in {member.value for member in hint}:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif hint in {str, bool, int, float, type(None)}:
        yield from _of_scalar(value, hint, path)
    else:
        yield from _of_object(value, hint, path)


def _of_list(value: object, hint: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is no list"
        return
    for index, item in enumerate(value):
        yield from _against(item, hint, f"{path}[{index}]")


def _of_mapping(value: object, hint: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    for name, item in value.items():
        yield from _against(item, hint, f"{path}.{name}")


def _of_scalar(value: object, hint: type, path: str) -> Iterator[str]:
    allowed = (int, float) if hint is float else (hint,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        yield f"{path}: {value!r} is no {hint.__name__}"


def _of_object(value: object, hint: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {hint.__name__}"
        return
    fields = {_key(name): kind for name, kind in typing.get_type_hints(hint).items()}
    yield from (f"{path}: {hint.__name__} has no {name!r}" for name in value.keys() - fields.keys())
    for name, kind in fields.items():
        if name in value:
            yield from _against(value[name], kind, f"{path}.{name}")
        elif type(None) not in typing.get_args(kind):
            yield f"{path}: {hint.__name__} needs {name!r}"


def _key(attribute: str) -> str:
    """The JSON key of an attribute: `grid_pos` is gridPos, `type_val` is type."""
    if attribute in _AS_THEY_ARE:
        return attribute
    head, *rest = attribute.removesuffix("_val").split("_")
    return head + "".join(word.capitalize() for word in rest)
