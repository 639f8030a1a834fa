"""Health: memory errors, Xids, remapped rows, NVLink, PCIe, and what the driver wants done."""

from gpuwatch_dashboards import links, looks, shared, variables
from gpuwatch_dashboards.looks import Column, Steps
from gpuwatch_dashboards.panel import Board, Panel, Query, Row
from gpuwatch_dashboards.promql import GPU, gpu, per_gpu
from gpuwatch_dashboards.scenarios import GONE, SICK
from gpuwatch_dashboards.shared import ON_GPU

_KINDS = "ecc_uncorrected|row_remap|xid|gpu_lost|gpu_stale|nvlink_down|nvlink_errors|fabric_error|pcie_degraded|pcie_errors|fan_failure"
_FIRST = ("cluster", "instance", "gpu")
_NOT_NONE = 'action!="none"'
_BAD_ABOVE_0: Steps = ((None, "transparent"), (1, "red"))
_ODD_ABOVE_0: Steps = ((None, "transparent"), (1, "orange"))


def _now() -> Row:
    return Row(
        "Now",
        (
            shared.gpus_not_ok(GONE),
            Panel(
                "GPUs the driver wants something done to",
                "The driver's own verdict: reset, reboot or drain.",
                looks.number("none", looks.ZERO_IS_GOOD),
                (Query(f"sum({gpu('gpuwatch_gpu_recovery_action', _NOT_NONE)})"),),
                SICK,
                width=5,
                height=4,
            ),
            Panel(
                "NVLinks down",
                "Links that the board has wired and that are not up.",
                looks.number("none", looks.ZERO_IS_GOOD),
                (Query(f"sum({gpu('gpuwatch_gpu_nvlink_links')} - {gpu('gpuwatch_gpu_nvlink_links_active')})"),),
                SICK,
                width=4,
                height=4,
            ),
            Panel(
                "GPUs with fewer lanes than board and slot have",
                "PCIe width below the most of board and slot; the slot's wiring may be the reason.",
                looks.number("none", looks.ZERO_IS_GOOD_ENOUGH),
                (
                    Query(
                        f"sum({gpu('gpuwatch_gpu_pcie_width_lanes')} < bool {gpu('gpuwatch_gpu_pcie_width_highest_lanes')})"
                    ),
                ),
                SICK,
                width=5,
                height=4,
            ),
            Panel(
                "GPUs outside the fabric",
                "Registration with the NVSwitch fabric failed.",
                looks.number("none", looks.ZERO_IS_GOOD),
                (Query(f"sum({gpu('gpuwatch_gpu_fabric_healthy')} == bool 0)"),),
                SICK,
                width=4,
                height=4,
            ),
            Panel(
                "Rows waiting or failed",
                "GPUs on which replacing a memory row waits for a reset, or has failed.",
                looks.number("none", looks.ZERO_IS_GOOD),
                (
                    Query(
                        f"sum({gpu('gpuwatch_gpu_remapped_rows_pending')} + {gpu('gpuwatch_gpu_remapped_rows_failed')})"
                    ),
                ),
                SICK,
                width=3,
                height=4,
            ),
            shared.findings(SICK, title="Findings about hardware", kinds=_KINDS),
        ),
    )


def _verdicts() -> Row:
    state = gpu("gpuwatch_gpu_state")
    asked = gpu("gpuwatch_gpu_recovery_action", _NOT_NONE)
    return Row(
        "GPUs that do not answer, and what the driver wants",
        (
            Panel(
                "Stale or lost",
                "Stale: no answer in time. Lost: off the bus.",
                looks.with_no_value(
                    looks.table(
                        {
                            "state": Column(
                                mappings=looks.names({"stale": ("stale", "purple"), "lost": ("lost", "dark-red")})
                            ),
                            "instance": Column(links=links.node_of_row()),
                        },
                        values={"Value": "n"},
                        hidden=("Value",),
                        first=(*_FIRST, "state"),
                    ),
                    "All GPUs answer.",
                ),
                (Query(f'{state[:-1]}, state!="ok"}} == 1'),),
                GONE,
                width=12,
            ),
            Panel(
                "Recovery action",
                "What the driver itself asks for (R570 and later).",
                looks.with_no_value(
                    looks.table(
                        {"instance": Column(links=links.node_of_row())},
                        values={"Value": "n"},
                        hidden=("Value",),
                        first=(*_FIRST, "action"),
                    ),
                    "The driver asks for nothing.",
                ),
                (Query(f"{asked} == 1"),),
                SICK,
                width=12,
            ),
        ),
    )


def _memory() -> Row:
    families = {
        "Uncorrected, ever": ("ecc_uncorrected_errors_total", _BAD_ABOVE_0),
        "Corrected, ever": ("ecc_corrected_errors_total", None),
        "Rows replaced (uncorrected)": ("remapped_rows_uncorrected_total", _ODD_ABOVE_0),
        "Rows replaced (corrected)": ("remapped_rows_corrected_total", None),
        "Row waits for a reset": ("remapped_rows_pending", _BAD_ABOVE_0),
        "Replacing failed": ("remapped_rows_failed", _BAD_ABOVE_0),
    }
    shown = {f"Value #{chr(ord('A') + index)}": title for index, title in enumerate(families)}
    columns = {title: Column(steps=steps) for title, (_, steps) in families.items()}

    def new(kind: str) -> tuple[Query, ...]:
        counter = gpu(f"gpuwatch_gpu_ecc_{kind}_errors_total")
        return (Query(f"{per_gpu(f'increase({counter}[$__rate_interval])')}", ON_GPU),)

    return Row(
        "Memory",
        (
            Panel(
                "Memory of every GPU",
                "Totals over the life of the board: healthy boards have some corrected ones too.",
                looks.table(columns, values=shown, first=_FIRST, sort_by="Uncorrected, ever"),
                tuple(Query(per_gpu(gpu(f"gpuwatch_gpu_{family}"))) for family, _ in families.values()),
                SICK,
                width=24,
            ),
            Panel("Corrected errors", "New ones.", looks.lines("none"), new("corrected"), SICK, width=12),
            Panel("Uncorrected errors", "New ones.", looks.lines("none"), new("uncorrected"), SICK, width=12),
        ),
    )


def _xids() -> Row:
    counter = gpu("gpuwatch_gpu_xid_errors_total")
    seen = gpu("gpuwatch_gpu_xid_last_seen_timestamp_seconds")
    return Row(
        "Xids",
        (
            Panel(
                "Xids seen",
                "Since the agent was started. Class application: a program's fault, not the board's.",
                looks.with_no_value(
                    looks.table(
                        {"Last seen ago": Column(unit="s"), "instance": Column(links=links.node_of_row())},
                        values={"Value #A": "Times", "Value #B": "Last seen ago"},
                        first=(*_FIRST, "xid", "class"),
                    ),
                    "None",
                ),
                (Query(f"sum by ({GPU}, xid, class) ({counter}) > 0"), Query(f"time() - max by ({GPU}, xid) ({seen})")),
                SICK,
                width=12,
            ),
            Panel(
                "Xids over time",
                "New ones, by code.",
                looks.with_no_value(looks.lines("none"), "None"),
                (
                    Query(
                        f"sum by ({GPU}, xid) (increase({counter}[$__rate_interval]) and {counter} > 0)",
                        "{{instance}} GPU {{gpu}} Xid {{xid}}",
                    ),
                ),
                SICK,
                width=12,
            ),
        ),
    )


def _links() -> Row:
    up = gpu("gpuwatch_gpu_nvlink_link_up")
    errors = gpu("gpuwatch_gpu_nvlink_errors_total")
    replays = gpu("gpuwatch_gpu_pcie_replays_total")
    pcie = gpu("gpuwatch_gpu_pcie_errors_total")
    return Row(
        "Links",
        (
            Panel(
                "NVLinks down over time",
                "Links that were down within the time shown.",
                looks.with_no_value(
                    looks.timeline(looks.ONE_IS_GOOD, looks.names({0: ("down", "red"), 1: ("up", "green")})),
                    "All links are up.",
                ),
                (
                    Query(
                        f"{up} and on ({GPU}, link) min_over_time({up}[$__range]) == 0",
                        "{{instance}} GPU {{gpu}} link {{link}}",
                    ),
                ),
                SICK,
            ),
            Panel(
                "NVLink errors",
                "A second, by link and kind.",
                looks.with_no_value(looks.lines("cps"), "None"),
                (
                    Query(
                        f"sum by ({GPU}, link, error) (rate({errors}[$__rate_interval])) > 0",
                        "{{instance}} GPU {{gpu}} link {{link}} {{error}}",
                    ),
                ),
                SICK,
            ),
            Panel(
                "PCIe packets sent again",
                "A second. Totals are not zero on healthy machines; a steady rate is the sign.",
                looks.lines("cps"),
                (Query(f"rate({replays}[$__rate_interval])", ON_GPU),),
                SICK,
            ),
            Panel(
                "PCIe errors",
                "A second, by kind.",
                looks.with_no_value(looks.lines("cps"), "None"),
                (
                    Query(
                        f"sum by ({GPU}, error) (rate({pcie}[$__rate_interval])) > 0",
                        "{{instance}} GPU {{gpu}} {{error}}",
                    ),
                ),
                SICK,
                width=12,
            ),
            Panel(
                "PCIe link below its best",
                "Lanes now over the most of board and slot.",
                looks.with_no_value(
                    looks.bars(
                        "percentunit",
                        ((None, "red"), (0.5, "orange"), (1, "green")),
                        highest=1,
                        links=links.node_of_series(),
                    ),
                    "All lanes are in use.",
                ),
                (
                    Query(
                        f"{gpu('gpuwatch_gpu_pcie_width_lanes')} / {gpu('gpuwatch_gpu_pcie_width_highest_lanes')} < 1",
                        ON_GPU,
                    ),
                ),
                SICK,
                width=12,
            ),
        ),
    )


HEALTH = Board(
    name="health",
    title="gpuwatch / Health",
    about="Memory errors, Xids, remapped rows, NVLink, PCIe, and what the driver wants done.",
    variables=(
        variables.datasource(),
        variables.cluster(),
        variables.nodes(),
        variables.gpu(),
        variables.runbooks(),
    ),
    rows=(_now(), _verdicts(), _memory(), _xids(), _links()),
)
