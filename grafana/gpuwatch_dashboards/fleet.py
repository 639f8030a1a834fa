"""Fleet: every GPU a cell, what is wrong, what it costs, and who wastes most."""

from gpuwatch_dashboards import links, looks, shared, variables
from gpuwatch_dashboards.looks import Column
from gpuwatch_dashboards.panel import Board, Panel, Query, Row
from gpuwatch_dashboards.promql import ALLOCATED, BAD_THROTTLING, GPU, NODES, at_work, gpu, node, per_gpu, worst_first
from gpuwatch_dashboards.scenarios import GONE, HEALTHY, HOT, IDLE, SILENT, SLURM

_SMALL = {"width": 3, "height": 4}
_POWER = gpu("gpuwatch_gpu_power_watts")
_JOB_LABELS = "cluster, slurm_job, pod, user"
_BUSY_SHARE = f"({gpu('gpuwatch_gpu_sm_activity_ratio')} or {gpu('gpuwatch_gpu_utilization_ratio')})"


def _now() -> Row:
    answering = f'count(up{{job="gpuwatch", {NODES}}} == 1)'
    silent = f'count(up{{job="gpuwatch", {NODES}}} == 0) or vector(0)'
    allocated = f"(count({per_gpu(gpu('gpuwatch_gpu_job_info'))}) or vector(0)) / count({gpu('gpuwatch_gpu_info')})"
    return Row(
        "Now",
        (
            Panel("Nodes", "Nodes that answer.", looks.number("none"), (Query(answering),), HEALTHY, **_SMALL),
            Panel(
                "Nodes silent",
                "Agents that Prometheus knows of and that do not answer.",
                looks.number("none", looks.ZERO_IS_GOOD),
                (Query(silent),),
                SILENT,
                **_SMALL,
            ),
            Panel(
                "GPUs",
                "GPUs that the nodes report.",
                looks.number("none"),
                (Query(f"count({at_work(gpu('gpuwatch_gpu_info'))})"),),
                HEALTHY,
                **_SMALL,
            ),
            shared.gpus_not_ok(GONE),
            Panel(
                "GPUs with a job",
                "Share of GPUs on which somebody's program runs.",
                looks.number("percentunit"),
                (Query(allocated),),
                HEALTHY,
                **_SMALL,
            ),
            shared.finding_counts(GONE),
            Panel(
                "Power now",
                "Power draw of all chosen GPUs.",
                looks.number("watt"),
                (Query(f"sum({at_work(_POWER)})"),),
                HEALTHY,
                **_SMALL,
            ),
        ),
    )


def _cells() -> Row:
    shown = worst_first(
        (-2, gpu("gpuwatch_gpu_state", 'state="lost"') + " == 1"),
        (-1, gpu("gpuwatch_gpu_state", 'state="stale"') + " == 1"),
        (1, gpu("$cell")),
    )
    silent = looks.names({-2: ("lost", "dark-red"), -1: ("stale", "purple")})
    return Row(
        "Every GPU",
        (
            shared.state_cells(GONE, chosen_work=True),
            Panel(
                title="Work of every GPU",
                about="As chosen under “Cells show”. Utilisation counts waiting in a collective as work; the activities do not.",
                look=looks.cells("percentunit", looks.BUSY, mappings=silent, links=links.node_of_series()),
                queries=(Query(at_work(f"({shown})"), shared.ON_GPU),),
                scenario=GONE,
                width=24,
            ),
        ),
    )


def _cost() -> Row:
    joules = gpu("gpuwatch_gpu_energy_joules_total")
    used_kwh = f"sum(increase({joules}[$__range])) / 3.6e6"
    sharers = f"count by ({GPU}) ({gpu('gpuwatch_gpu_job_info')})"
    jobs = gpu("gpuwatch_gpu_job_info", 'pod=~"$pod"', 'slurm_job=~"$slurm_job"')
    share = f"{jobs} * on ({GPU}) group_left () ({per_gpu(_POWER)} / on ({GPU}) {sharers})"
    by_job = f"sum by ({_JOB_LABELS}) ({share})"
    return Row(
        "Power and cost",
        (
            Panel(
                "Power by node",
                "Power draw of the GPUs of each node, whoever works on them.",
                looks.lines("watt", links=links.node_of_series()),
                (Query(f"sum by (cluster, instance) ({_POWER})", "{{instance}}"),),
                HEALTHY,
            ),
            Panel(
                "Cost by node, per hour",
                "Energy by the boards' own counters, at the price above, in its currency.",
                looks.lines("none", links=links.node_of_series()),
                (
                    Query(
                        f"sum by (cluster, instance) (rate({joules}[$__rate_interval])) / 1000 * $price", "{{instance}}"
                    ),
                ),
                HEALTHY,
            ),
            Panel(
                "Energy used",
                "Energy of the chosen GPUs over the time shown.",
                looks.number("kwatth", decimals=2),
                (Query(used_kwh),),
                HEALTHY,
                width=4,
                height=4,
            ),
            Panel(
                "Cost of it",
                "The same at the price above, in its currency.",
                looks.number("none", decimals=2),
                (Query(f"{used_kwh} * $price"),),
                HEALTHY,
                width=4,
                height=4,
            ),
            Panel(
                "Power and cost by job",
                "Power now and what it costs an hour. Where several jobs share a GPU its power is split evenly among them.",
                looks.table(
                    {"Power": Column(unit="watt"), "Cost per hour": Column(unit="none")},
                    values={"Value #A": "Power", "Value #B": "Cost per hour"},
                    first=("cluster", "slurm_job", "pod", "user"),
                    sort_by="Power",
                ),
                (Query(by_job), Query(f"{by_job} / 1000 * $price")),
                SLURM,
                width=24,
            ),
        ),
    )


def _losers() -> Row:
    held_down = gpu("gpuwatch_gpu_throttle_seconds_total", f'reason=~"{BAD_THROTTLING}"')
    throttled = f"topk(10, max by ({GPU}) (increase({held_down}[$__range])) > 0)"
    idle = f"max_over_time({gpu('gpuwatch_gpu_utilization_ratio')}[$__range]) < 0.05"
    held = per_gpu(gpu("gpuwatch_gpu_memory_used_bytes"))
    idle_holders = f"topk(10, {held} and {ALLOCATED} and on ({GPU}) ({idle}))"
    full = f"({gpu('gpuwatch_gpu_memory_used_bytes')} / {gpu('gpuwatch_gpu_memory_size_bytes')})"
    gap = f"topk(10, {per_gpu(f'{full} - {_BUSY_SHARE}')} and {ALLOCATED})"
    look = looks.bars("s", looks.ZERO_IS_GOOD_ENOUGH, links=links.node_of_series())
    return Row(
        "Top losers",
        (
            Panel(
                "Seconds held down by heat or the power brake",
                "Over the time shown, by the driver's own counters: of the reasons, which run at once, the longest. A power cap is normal and does not count.",
                looks.with_no_value(look, "None"),
                (Query(throttled, shared.ON_GPU),),
                HOT,
            ),
            Panel(
                "Memory held by GPUs that compute nothing",
                "GPUs with a job whose utilisation never reached 5 % in the time shown.",
                looks.with_no_value(
                    looks.bars("bytes", ((None, "orange"),), links=links.node_of_series()),
                    "None: every GPU with a job has computed.",
                ),
                (Query(idle_holders, shared.ON_GPU),),
                IDLE,
            ),
            Panel(
                "Lowest activity at highest allocation",
                "Share of memory that is taken less share of processors at work, now: much is held and little is done.",
                looks.bars("percentunit", ((None, "blue"), (0.5, "orange")), highest=1, links=links.node_of_series()),
                (Query(gap, shared.ON_GPU),),
                IDLE,
            ),
        ),
    )


def _agents() -> Row:
    age = f"max by (cluster, instance) ({node('gpuwatch_frame_age_seconds')})"
    return Row(
        "Nodes",
        (
            Panel(
                "Driver and agent by node",
                "What runs where; a node that stands out here often stands out elsewhere.",
                looks.table(
                    {"instance": Column(links=links.node_of_row()), "Up": Column(mappings=looks.YES_NO)},
                    values={"Value #A": "Up", "Value #B": "Age of the values"},
                    first=("cluster", "instance", "node", "driver_version", "cuda_version"),
                ),
                (
                    Query(f"{node('gpuwatch_node_info')} * on (cluster, instance) group_left () {node('gpuwatch_up')}"),
                    Query(age),
                ),
                HEALTHY,
                width=24,
            ),
        ),
    )


FLEET = Board(
    name="fleet",
    title="gpuwatch / Fleet",
    about="Every GPU a cell, what is wrong now, power and cost, and who wastes most.",
    variables=(
        variables.datasource(),
        variables.cluster(),
        variables.nodes(),
        variables.gpu(),
        variables.slurm_job(),
        variables.pod(),
        variables.cell(),
        variables.price(),
        variables.runbooks(),
    ),
    rows=(_now(), Row("Findings", (shared.findings(GONE),)), _cells(), _cost(), _losers(), _agents()),
)
