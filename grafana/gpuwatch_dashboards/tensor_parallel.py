"""Tensor-parallel group: its ranks side by side on one scale, who waits for whom, and the tokens that come out."""

from gpuwatch_dashboards import links, looks, shared, variables
from gpuwatch_dashboards.looks import Column, Steps
from gpuwatch_dashboards.panel import Board, Panel, Query, Row
from gpuwatch_dashboards.promql import BAD_THROTTLING, GPU, gpu, host_of, node, per_gpu
from gpuwatch_dashboards.scenarios import HEALTHY, HOT

_MEMBERS = node("gpuwatch_gpu_group_info", 'group=~"$group"', 'gpu=~"$gpu"')
_GROUP = "cluster, instance, group"
_RANK = "{{group}} rank {{rank}} (GPU {{gpu}}, {{instance}})"
_IMBALANCE = "tp_imbalance|tp_stalled"
# A tenth of the pace lost to a rank is 0.3, a quarter 0.75.
_SCORE_STEPS: Steps = ((None, "green"), (0.3, "orange"), (0.75, "red"))


def _of_rank(expression: str) -> str:
    """The value with the group and rank of its GPU; a GPU in two groups counts in both."""
    return f"{_MEMBERS} * on ({GPU}) group_left () {per_gpu(expression)}"


def _beside_group(expression: str, measure: str) -> str:
    """The value as a share of the group's."""
    mine = _of_rank(expression)
    return f"{mine} / on ({_GROUP}) group_left () {measure} by ({_GROUP}) ({mine})"


_SCORE = _of_rank(gpu("gpuwatch_gpu_imbalance_score"))
_POWER_SHARE = _beside_group(gpu("gpuwatch_gpu_power_watts"), "avg")
_CLOCK_SHARE = _beside_group(gpu("gpuwatch_gpu_sm_clock_hertz"), "max")
_HELD_DOWN = (
    f"max by ({GPU}) (increase("
    + gpu("gpuwatch_gpu_throttle_seconds_total", f'reason=~"{BAD_THROTTLING}"')
    + "[$__range]))"
)


def _who_waits() -> str:
    """Each rank that waits, with the rank it waits for: the group's highest score among those a finding names."""
    named = f'on ({GPU}) gpuwatch_finding{{kind="tp_imbalance"}}'
    culprit = f"topk by ({_GROUP}) (1, ({_SCORE}) and {named})"
    told = f'label_replace(label_replace({culprit}, "waits_for_rank", "$1", "rank", "(.+)"), "waits_for_gpu", "$1", "gpu", "(.+)")'
    return f"({_MEMBERS} unless {named}) * on ({_GROUP}) group_left (waits_for_rank, waits_for_gpu) {told}"


def _now() -> Row:
    small = {"width": 4, "height": 4}
    return Row(
        "Now",
        (
            Panel(
                "Ranks",
                "GPUs of each chosen group.",
                looks.number("none"),
                (Query(f"count by ({_GROUP}) ({_MEMBERS})", "{{group}}"),),
                HEALTHY,
                **small,
            ),
            Panel(
                "Furthest out of step",
                "The highest imbalance score of a rank: 0 in step.",
                looks.number("none", _SCORE_STEPS, decimals=2),
                (Query(f"max by ({_GROUP}) ({_SCORE})", "{{group}}"),),
                HEALTHY,
                **small,
            ),
            Panel(
                "Power of the group",
                "Power draw of all its ranks.",
                looks.number("watt"),
                (Query(f"sum by ({_GROUP}) ({_of_rank(gpu('gpuwatch_gpu_power_watts'))})", "{{group}}"),),
                HEALTHY,
                **small,
            ),
            Panel(
                "Tokens a second",
                "Generated on the group's machine, by vLLM's own count, where vLLM is scraped too.",
                looks.with_no_value(looks.number("none", decimals=0), "vLLM is not scraped"),
                (Query(_tokens("generation"), "{{model_name}}"),),
                HEALTHY,
                **small,
            ),
            Panel(
                "Joules a token",
                "Power of the chosen ranks by machine over tokens a second there.",
                looks.with_no_value(looks.number("joule", decimals=2), "vLLM is not scraped"),
                (Query(_joules_per_token(), "{{host}}"),),
                HEALTHY,
                **small,
            ),
            Panel(
                "Requests waiting",
                "In vLLM's queue on the group's machine.",
                looks.with_no_value(looks.number("none"), "vLLM is not scraped"),
                (Query(_of_vllm("vllm:num_requests_waiting"), "{{model_name}}"),),
                HEALTHY,
                **small,
            ),
        ),
    )


def _of_vllm(expression: str) -> str:
    """What vLLM counts, by model, for the machines on which the chosen groups run: joined by host, as ports differ."""
    return f"sum by (host, model_name) ({host_of(expression)}) and on (host) {host_of(_MEMBERS)}"


def _tokens(which: str) -> str:
    return _of_vllm(f"rate(vllm:{which}_tokens_total[$__rate_interval])")


def _joules_per_token() -> str:
    # Each GPU once, also where it belongs to two groups.
    member = f"{per_gpu(gpu('gpuwatch_gpu_power_watts'))} and on ({GPU}) {_MEMBERS}"
    watts = f"sum by (host) ({host_of(member)})"
    return f"{watts} / on (host) (sum by (host) ({_tokens('generation')}) > 0)"


def _ranks() -> Row:
    columns = {
        "Score": Column(steps=_SCORE_STEPS),
        "Power beside the mean": Column(unit="percentunit", bar_to=1.5),
        "Clock beside the fastest": Column(unit="percentunit", bar_to=1),
        "Utilisation": Column(unit="percentunit"),
        "SM activity": Column(unit="percentunit", bar_to=1),
        "Tensor activity": Column(unit="percentunit", bar_to=1),
        "Held down": Column(unit="s", steps=((None, "transparent"), (1, "orange"))),
    }
    shown = {f"Value #{chr(ord('A') + index)}": title for index, title in enumerate(columns)}
    queries = (
        _SCORE,
        _POWER_SHARE,
        _CLOCK_SHARE,
        _of_rank(gpu("gpuwatch_gpu_utilization_ratio")),
        _of_rank(gpu("gpuwatch_gpu_sm_activity_ratio")),
        _of_rank(gpu("gpuwatch_gpu_tensor_activity_ratio")),
        _of_rank(_HELD_DOWN),
    )
    return Row(
        "Who waits for whom",
        (
            Panel(
                "Ranks side by side",
                "A rank that waits in a collective shows full utilisation too: power, activity and clock tell it from one that works.",
                looks.table(
                    columns,
                    values=shown,
                    first=("cluster", "instance", "group", "rank", "gpu", "size", "split"),
                    sort_by="Score",
                ),
                tuple(Query(expr) for expr in queries),
                HEALTHY,
                width=24,
                height=9,
            ),
            Panel(
                "Who waits for whom",
                "Where a finding names a rank that holds its group up: every rank that waits, and for which one.",
                looks.with_no_value(
                    looks.table(
                        {"Its score": Column(steps=_SCORE_STEPS), "instance": Column(links=links.node_of_row())},
                        values={"Value": "Its score"},
                        hidden=("size", "split"),
                        first=("cluster", "instance", "group", "rank", "gpu", "waits_for_rank", "waits_for_gpu"),
                    ),
                    "Nobody: no group is held up by one of its ranks.",
                ),
                (Query(_who_waits()),),
                HOT,
                width=12,
            ),
            shared.findings(HOT, title="Findings about groups", kinds=_IMBALANCE + "|memory_imbalance", width=12),
        ),
    )


def _over_time() -> Row:
    def side_by_side(title: str, about: str, unit: str, expr: str, highest: float | None = None) -> Panel:
        return Panel(title, about, looks.lines(unit, highest=highest), (Query(expr, _RANK),), HEALTHY)

    def ratio(title: str, about: str, family: str) -> Panel:
        return side_by_side(title, about, "percentunit", _of_rank(gpu(family)), 1)

    return Row(
        "Ranks on one scale",
        (
            side_by_side("Imbalance score", "How far each rank is from its group, 0 in step.", "none", _SCORE),
            side_by_side(
                "Power beside the group's mean",
                "A waiting rank draws less than one that works.",
                "percentunit",
                _POWER_SHARE,
            ),
            side_by_side(
                "SM clock beside the group's fastest",
                "A rank that is held down falls off here.",
                "percentunit",
                _CLOCK_SHARE,
                1,
            ),
            side_by_side("Power", "Power draw of each rank.", "watt", _of_rank(gpu("gpuwatch_gpu_power_watts"))),
            ratio("SM activity", "Share of multiprocessors with work.", "gpuwatch_gpu_sm_activity_ratio"),
            ratio(
                "Tensor activity", "Share of cycles the tensor cores were busy.", "gpuwatch_gpu_tensor_activity_ratio"
            ),
            side_by_side("SM clock", "Of each rank.", "hertz", _of_rank(gpu("gpuwatch_gpu_sm_clock_hertz"))),
            side_by_side("Memory in use", "Of each rank.", "bytes", _of_rank(gpu("gpuwatch_gpu_memory_used_bytes"))),
            side_by_side(
                "NVLink sent",
                "Equal on all ranks of a ring: it tells whether the group is alive, not who is late.",
                "Bps",
                _of_rank(gpu("gpuwatch_gpu_nvlink_transmit_bytes_per_second")),
            ),
        ),
    )


def _serving() -> Row:
    about = "By vLLM's own count on the machines of the chosen groups, where vLLM is scraped too."
    empty = "vLLM is not scraped on these machines"
    return Row(
        "Tokens, from vLLM",
        (
            Panel(
                "Tokens a second",
                about,
                looks.with_no_value(looks.lines("none"), empty),
                (
                    Query(_tokens("generation"), "{{host}} {{model_name}} generated"),
                    Query(_tokens("prompt"), "{{host}} {{model_name}} prompt"),
                ),
                HEALTHY,
                width=12,
            ),
            Panel(
                "Requests",
                about,
                looks.with_no_value(looks.lines("none"), empty),
                tuple(
                    Query(_of_vllm(f"vllm:num_requests_{state}"), f"{{{{host}}}} {{{{model_name}}}} {state}")
                    for state in ("running", "waiting")
                ),
                HEALTHY,
                width=12,
            ),
        ),
    )


TENSOR_PARALLEL = Board(
    name="tensor-parallel",
    title="gpuwatch / Tensor-parallel group",
    about="The ranks of a group side by side on one scale, who waits for whom, and the tokens that come out.",
    variables=(
        variables.datasource(),
        variables.cluster(),
        variables.nodes(),
        variables.group(),
        variables.gpu(),
        variables.runbooks(),
    ),
    rows=(_now(), _ranks(), _over_time(), _serving()),
)
