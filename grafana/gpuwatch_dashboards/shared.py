"""Panels that more than one dashboard shows."""

from gpuwatch_dashboards import links, looks
from gpuwatch_dashboards.looks import Column
from gpuwatch_dashboards.panel import Panel, Query
from gpuwatch_dashboards.promql import NODES, at_work, gpu, node, per_gpu, worst_first

# A finding about the whole node names no GPU, and has no cell.
_OF_A_GPU = 'gpu!=""'

ON_GPU = "{{instance}} GPU {{gpu}}"

GPU_STATES = looks.names(
    {
        0: ("ok", "green"),
        1: ("info", "blue"),
        2: ("warning", "orange"),
        3: ("critical", "red"),
        4: ("stale", "purple"),
        5: ("lost", "dark-red"),
    }
)
THROTTLING = looks.names(
    {
        0: ("none", "green"),
        1: ("power cap", "blue"),
        2: ("thermal", "orange"),
        3: ("hardware slowdown", "red"),
        4: ("power brake", "dark-red"),
    }
)


def state_of_gpus() -> str:
    """The worst that is known of each GPU: 0 nothing, 1 to 3 a finding, 4 stale, 5 lost."""
    return worst_first(
        (5, gpu("gpuwatch_gpu_state", 'state="lost"') + " == 1"),
        (4, gpu("gpuwatch_gpu_state", 'state="stale"') + " == 1"),
        (3, gpu("gpuwatch_finding", _OF_A_GPU, 'severity="critical"')),
        (2, gpu("gpuwatch_finding", _OF_A_GPU, 'severity="warning"')),
        (1, gpu("gpuwatch_finding", _OF_A_GPU, 'severity="info"')),
        (0, gpu("gpuwatch_gpu_info")),
    )


def state_cells(scenario: str, *, chosen_work: bool) -> Panel:
    """Every GPU a cell in the colour of the worst that is known of it."""
    states = state_of_gpus()
    return Panel(
        title="State of every GPU",
        about="The worst that is known of each GPU: ok, a finding by its severity, stale (no answer), lost (off the bus).",
        look=looks.cells("none", looks.PLAIN, mappings=GPU_STATES, links=links.node_of_series()),
        queries=(Query(at_work(f"({states})") if chosen_work else states, ON_GPU),),
        scenario=scenario,
        width=24,
    )


def throttling_over_time(scenario: str) -> Panel:
    """Why each GPU's clocks were held down, over time."""
    reasons = "gpuwatch_gpu_throttle_reason"
    states = worst_first(
        (4, gpu(reasons, 'reason="hw_power_brake"') + " == 1"),
        # A hardware slowdown that has heat for a reason is reported as both.
        (2, gpu(reasons, 'reason=~"sw_thermal|hw_thermal"') + " == 1"),
        (3, gpu(reasons, 'reason="hw_slowdown"') + " == 1"),
        (1, gpu(reasons, 'reason="sw_power_cap"') + " == 1"),
        (0, gpu(reasons)),
    )
    return Panel(
        title="Clocks held down by",
        about="The weightiest reason at each moment. A power cap is normal on a busy GPU; heat and the power brake are not.",
        look=looks.timeline(looks.PLAIN, THROTTLING),
        queries=(Query(states, ON_GPU),),
        scenario=scenario,
        width=12,
        height=9,
    )


def findings(scenario: str, *, title: str = "What is wrong now", kinds: str = "", width: int = 24) -> Panel:
    """The findings that hold now, each with its runbook."""
    matchers = [f'kind=~"{kinds}"'] if kinds else []
    age = f"time() - {node('gpuwatch_finding_since_timestamp_seconds', *matchers)}"
    columns = {
        "severity": Column(mappings=looks.SEVERITIES),
        "kind": Column(links=links.runbook_of_row()),
        "instance": Column(links=links.node_of_row()),
        "For": Column(unit="s"),
    }
    look = looks.table(
        columns,
        values={"Value": "For"},
        first=("severity", "kind", "cluster", "instance", "gpu", "Value"),
        sort_by="For",
    )
    return Panel(
        title=title,
        about="Findings that hold now. The kind leads to its runbook, the node to its dashboard; no GPU means the whole node.",
        look=looks.with_no_value(look, "Nothing: no finding holds now."),
        queries=(Query(age),),
        scenario=scenario,
        width=width,
    )


def finding_counts(scenario: str) -> Panel:
    """How many findings there are now, by severity."""
    counts = f"sum by (severity) (gpuwatch_findings{{{NODES}}})"
    return Panel(
        title="Findings",
        about="How many findings hold now, by severity.",
        look=looks.number("none", looks.ZERO_IS_GOOD_ENOUGH),
        queries=(Query(counts, "{{severity}}"),),
        scenario=scenario,
        width=6,
        height=4,
    )


def gpus_not_ok(scenario: str) -> Panel:
    """GPUs that are stale or lost."""
    missing = "sum(" + gpu("gpuwatch_gpu_state", 'state!="ok"') + ")"
    return Panel(
        title="GPUs stale or lost",
        about="GPUs that do not answer, or have left the bus.",
        look=looks.number("none", looks.ZERO_IS_GOOD),
        queries=(Query(missing),),
        scenario=scenario,
        width=3,
        height=4,
    )


def degrees_left(scenario: str, width: int = 8) -> Panel:
    """How far each GPU is from the temperature at which the board itself slows down."""
    left = f"{gpu('gpuwatch_gpu_temperature_slowdown_celsius')} - {gpu('gpuwatch_gpu_temperature_celsius')}"
    return Panel(
        title="Degrees left before the board slows down",
        about="The board's own slowdown temperature less the temperature now: red is there, orange is close.",
        look=looks.bars("celsius", looks.DEGREES_LEFT, links=links.node_of_series()),
        queries=(Query(f"sort({per_gpu(left)})", ON_GPU),),
        scenario=scenario,
        width=width,
    )
