"""Probes: what was last measured on purpose, when, and how it compares over time."""

from gpuwatch_dashboards import links, looks, variables
from gpuwatch_dashboards.looks import Column
from gpuwatch_dashboards.panel import Board, Panel, Query, Row
from gpuwatch_dashboards.promql import gpu, node
from gpuwatch_dashboards.scenarios import PROBED

_NONE = "No probe has been run: see `gpuwatch probe --help`."


def _last() -> Row:
    age = f"time() - {node('gpuwatch_probe_last_run_timestamp_seconds')}"
    return Row(
        "Last run of each probe",
        (
            Panel(
                "Probes",
                "When each was last run, and whether it passed.",
                looks.with_no_value(
                    looks.table(
                        {
                            "Ago": Column(unit="s"),
                            "Passed": Column(mappings=looks.names({0: ("no", "red"), 1: ("yes", "green")})),
                            "instance": Column(links=links.node_of_row()),
                        },
                        values={"Value #A": "Ago", "Value #B": "Passed"},
                        first=("cluster", "instance", "probe", "ranks", "backend"),
                    ),
                    _NONE,
                ),
                (Query(age), Query(node("gpuwatch_probe_passed"))),
                PROBED,
                width=24,
            ),
        ),
    )


def _lines(title: str, about: str, unit: str, expr: str, legend: str) -> Panel:
    return Panel(
        title,
        about,
        looks.with_no_value(looks.lines(unit), _NONE),
        (Query(expr, "{{instance}} " + legend),),
        PROBED,
        width=12,
    )


def _collectives() -> Row:
    ranks = "{{ranks}} ranks {{backend}}"
    return Row(
        "All-reduce",
        (
            _lines(
                "Bus bandwidth",
                "Of the largest message.",
                "Bps",
                node("gpuwatch_probe_allreduce_bus_bandwidth_bytes_per_second"),
                ranks,
            ),
            _lines(
                "Latency",
                "Median of the smallest message: what decides a decode step.",
                "s",
                node("gpuwatch_probe_allreduce_latency_seconds"),
                ranks,
            ),
        ),
    )


def _decode() -> Row:
    return Row(
        "Decode",
        (
            _lines(
                "Tokens a second",
                "Of the decode probe, by model and ranks.",
                "none",
                node("gpuwatch_probe_decode_tokens_per_second"),
                "{{model}} on {{tp}}",
            ),
            _lines(
                "Scaling",
                "Tokens a second over ranks times those of one rank: 1 is perfect.",
                "percentunit",
                node("gpuwatch_probe_decode_scaling_ratio"),
                "{{model}} on {{tp}}",
            ),
        ),
    )


def _boards() -> Row:
    return Row(
        "Each GPU",
        (
            _lines(
                "Memory bandwidth",
                "Measured on each GPU.",
                "Bps",
                gpu("gpuwatch_probe_gpu_memory_bandwidth_bytes_per_second"),
                "GPU {{gpu}}",
            ),
            _lines(
                "Matrix products",
                "Measured on each GPU.",
                "flops",
                gpu("gpuwatch_probe_gpu_matmul_flops"),
                "GPU {{gpu}}",
            ),
        ),
    )


PROBES = Board(
    name="probes",
    title="gpuwatch / Probes",
    about="What was last measured on purpose, when, and how it compares over time.",
    variables=(variables.datasource(), variables.cluster(), variables.nodes(), variables.gpu()),
    rows=(_last(), _collectives(), _decode(), _boards()),
)
