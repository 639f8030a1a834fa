"""What can be chosen at the top of a dashboard."""

from grafana_foundation_sdk.models import dashboard as model

RUNBOOKS = "http://localhost:9489/v1/runbooks"

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


def datasource() -> model.VariableModel:
    return model.VariableModel(
        type_val=model.VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        query="prometheus",
        refresh=model.VariableRefresh.ON_DASHBOARD_LOAD,
    )


def _labels(name: str, label: str, query: str, *, many: bool) -> model.VariableModel:
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return model.VariableModel(
        type_val=model.VariableType.QUERY,
        name=name,
        label=label,
        datasource=SOURCE,
        query={"query": query, "refId": "StandardVariableQuery"},
        refresh=model.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC,
        multi=many,
        include_all=many,
        # Matches series without the label as well: a site with one cluster has none, an idle GPU no pod.
        all_value=".*" if many else None,
        current=everything if many else None,
    )


def cluster() -> model.VariableModel:
    return _labels("cluster", "Cluster", "label_values(gpuwatch_node_info, cluster)", many=True)


def nodes() -> model.VariableModel:
    return _labels("node", "Node", 'label_values(gpuwatch_node_info{cluster=~"$cluster"}, instance)', many=True)


def one_node() -> model.VariableModel:
    return _labels("node", "Node", 'label_values(gpuwatch_node_info{cluster=~"$cluster"}, instance)', many=False)


def gpu() -> model.VariableModel:
    query = 'label_values(gpuwatch_gpu_info{cluster=~"$cluster", instance=~"$node"}, gpu)'
    wanted = _labels("gpu", "GPU", query, many=True)
    wanted.sort = model.VariableSort.NUMERICAL_ASC
    return wanted


def slurm_job() -> model.VariableModel:
    query = 'label_values(gpuwatch_gpu_job_info{cluster=~"$cluster", instance=~"$node"}, slurm_job)'
    return _labels("slurm_job", "Slurm job", query, many=True)


def pod() -> model.VariableModel:
    query = 'label_values(gpuwatch_gpu_job_info{cluster=~"$cluster", instance=~"$node"}, pod)'
    return _labels("pod", "Pod", query, many=True)


def group() -> model.VariableModel:
    query = 'label_values(gpuwatch_gpu_group_info{cluster=~"$cluster", instance=~"$node"}, group)'
    return _labels("group", "Group", query, many=True)


def _text(name: str, label: str, value: str, about: str) -> model.VariableModel:
    chosen = model.VariableOption(selected=True, text=value, value=value)
    return model.VariableModel(
        type_val=model.VariableType.TEXTBOX,
        name=name,
        label=label,
        description=about,
        query=value,
        current=chosen,
        options=[chosen],
    )


def price() -> model.VariableModel:
    return _text("price", "Price of a kWh", "0.25", "What a kilowatt-hour costs, in any currency.")


def runbooks() -> model.VariableModel:
    return _text(
        "runbooks", "Runbooks", RUNBOOKS, "Where your copy of the runbooks is, or an agent that your browser reaches."
    )


def cell() -> model.VariableModel:
    choices = {
        "Utilisation": "gpuwatch_gpu_utilization_ratio",
        "SM activity": "gpuwatch_gpu_sm_activity_ratio",
        "Tensor activity": "gpuwatch_gpu_tensor_activity_ratio",
        "Memory activity": "gpuwatch_gpu_dram_activity_ratio",
    }
    options = [
        model.VariableOption(selected=index == 0, text=text, value=family)
        for index, (text, family) in enumerate(choices.items())
    ]
    return model.VariableModel(
        type_val=model.VariableType.CUSTOM,
        name="cell",
        label="Cells show",
        query=", ".join(f"{text} : {family}" for text, family in choices.items()),
        current=options[0],
        options=options,
    )
