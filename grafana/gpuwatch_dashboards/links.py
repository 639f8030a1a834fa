"""Ways from one dashboard to another, and to the runbooks."""

from grafana_foundation_sdk.models import dashboard as model

_TAG = "gpuwatch"


def _link(title: str, url: str) -> model.DashboardLink:
    outside = not url.startswith("/d/")
    return model.DashboardLink(title=title, url=url, type_val=model.DashboardLinkType.LINK, target_blank=outside)


def _to(board: str, variables: str) -> str:
    return f"/d/gpuwatch-{board}?${{datasource:queryparam}}&${{cluster:queryparam}}&{variables}&${{__url_time_range}}"


def node_of_series() -> list[model.DashboardLink]:
    """From a cell, a bar or a line to the node that it belongs to."""
    return [_link("This node", _to("node", "var-node=${__field.labels.instance}"))]


def group_of_series() -> list[model.DashboardLink]:
    """From a line to the group that it belongs to."""
    variables = "var-node=${__field.labels.instance}&var-group=${__field.labels.group}"
    return [_link("This group", _to("tensor-parallel", variables))]


def node_of_row() -> list[model.DashboardLink]:
    """From a table's row to its node."""
    return [_link("This node", _to("node", "var-node=${__data.fields.instance}"))]


def group_of_row() -> list[model.DashboardLink]:
    """From a table's row to its group."""
    variables = "var-node=${__data.fields.instance}&var-group=${__data.fields.group}"
    return [_link("This group", _to("tensor-parallel", variables))]


def runbook_of_row() -> list[model.DashboardLink]:
    """From a finding to what it means and what to do: as the node's own agent serves it, or from your own place."""
    own = _link("Runbook, from the node's agent", "http://${__data.fields.instance}/v1/runbooks/${__data.fields.kind}")
    central = _link("Runbook, from the address above", "${runbooks:raw}/${__data.fields.kind}")
    return [own, central]


def to_the_others() -> list[model.DashboardLink]:
    """The links at the top of every dashboard."""
    return [
        model.DashboardLink(
            title="gpuwatch",
            type_val=model.DashboardLinkType.DASHBOARDS,
            icon="external link",
            tags=[_TAG],
            include_vars=True,
            keep_time=True,
        )
    ]
