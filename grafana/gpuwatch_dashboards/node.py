"""Node: all GPUs of one machine side by side, its links, who works on it, and the machine itself."""

from gpuwatch_dashboards import looks, shared, variables
from gpuwatch_dashboards.looks import Column
from gpuwatch_dashboards.panel import Board, Look, Panel, Query, Row
from gpuwatch_dashboards.promql import BAD_THROTTLING, GPU, gpu, node
from gpuwatch_dashboards.scenarios import GONE, HEALTHY, HOT, MIG, SICK, SLURM
from gpuwatch_dashboards.shared import ON_GPU

_UP_DOWN = looks.names({0: ("down", "red"), 1: ("up", "green")})
_WORK_LABELS = "user, container, pod, slurm_job"
_PCIE_COLUMNS = {
    "generation": "Generation",
    "generation_highest": "at most",
    "width_lanes": "Lanes",
    "width_highest_lanes": "lanes at most",
}


def _figure(title: str, about: str, look: Look, expr: str, legend: str = "") -> Panel:
    return Panel(title, about, look, (Query(expr, legend),), HEALTHY, width=3, height=4)


def _now() -> Row:
    load = f"{node('gpuwatch_host_load1')} / {node('gpuwatch_host_cpus')}"
    memory = f"{node('gpuwatch_host_memory_used_bytes')} / {node('gpuwatch_host_memory_size_bytes')}"
    used, size = gpu("gpuwatch_gpu_memory_used_bytes"), gpu("gpuwatch_gpu_memory_size_bytes")
    return Row(
        "Now",
        (
            _figure(
                "Answers",
                "Yes where the values are fresh and the driver can be read.",
                looks.number("none", looks.ONE_IS_GOOD, mappings=looks.YES_NO),
                node("gpuwatch_up"),
                "{{instance}}",
            ),
            shared.gpus_not_ok(GONE),
            shared.finding_counts(SICK),
            _figure(
                "GPU power", "Power draw of its GPUs.", looks.number("watt"), f"sum({gpu('gpuwatch_gpu_power_watts')})"
            ),
            _figure(
                "GPU memory",
                "Share of the GPUs' memory in use.",
                looks.number("percentunit"),
                f"sum({used}) / sum({size})",
            ),
            _figure(
                "Load per processor",
                "Load average of one minute over processors.",
                looks.number("none", decimals=2),
                load,
            ),
            _figure("Memory", "Share of the machine's memory in use.", looks.number("percentunit"), memory),
        ),
    )


def _ratio(title: str, about: str, family: str) -> Panel:
    return Panel(title, about, looks.lines("percentunit", highest=1), (Query(gpu(family), ON_GPU),), HEALTHY)


def _gpus() -> Row:
    full = f"{gpu('gpuwatch_gpu_memory_used_bytes')} / {gpu('gpuwatch_gpu_memory_size_bytes')}"
    clock = f"{gpu('gpuwatch_gpu_sm_clock_hertz')} / {gpu('gpuwatch_gpu_sm_clock_highest_hertz')}"
    return Row(
        "GPUs",
        (
            _ratio(
                "Utilisation",
                "Share of time a kernel was running. Waiting in a collective counts as well.",
                "gpuwatch_gpu_utilization_ratio",
            ),
            _ratio("SM activity", "Share of multiprocessors with work.", "gpuwatch_gpu_sm_activity_ratio"),
            _ratio(
                "Tensor activity", "Share of cycles the tensor cores were busy.", "gpuwatch_gpu_tensor_activity_ratio"
            ),
            Panel(
                "Memory in use",
                "Share of the board's memory.",
                looks.lines("percentunit", highest=1),
                (Query(full, ON_GPU),),
                HEALTHY,
            ),
            _ratio(
                "Memory activity", "Share of cycles the memory interface was busy.", "gpuwatch_gpu_dram_activity_ratio"
            ),
            Panel(
                "SM clock",
                "As a share of the board's highest.",
                looks.lines("percentunit", highest=1),
                (Query(clock, ON_GPU),),
                HEALTHY,
            ),
            Panel(
                "Power",
                "Power draw; dashed, the limit in force.",
                looks.lines("watt", limit="/^limit/"),
                (
                    Query(gpu("gpuwatch_gpu_power_watts"), ON_GPU),
                    Query(
                        f"min by (cluster, instance) ({gpu('gpuwatch_gpu_power_limit_watts')})", "limit of {{instance}}"
                    ),
                ),
                HEALTHY,
            ),
            Panel(
                "Temperature",
                "Of the GPU; dashed, where the first board slows itself down.",
                looks.lines("celsius", limit="/^slowdown/"),
                (
                    Query(gpu("gpuwatch_gpu_temperature_celsius"), ON_GPU),
                    Query(
                        f"min by (cluster, instance) ({gpu('gpuwatch_gpu_temperature_slowdown_celsius')})",
                        "slowdown of {{instance}}",
                    ),
                ),
                HEALTHY,
            ),
            shared.degrees_left(HOT),
        ),
    )


def _throttling() -> Row:
    held = gpu("gpuwatch_gpu_throttle_seconds_total", 'reason=~"sw_power_cap|sync_boost|' + BAD_THROTTLING + '"')
    share = f"rate({held}[$__rate_interval]) > 0"
    return Row(
        "Throttling",
        (
            shared.throttling_over_time(HOT),
            Panel(
                "Share of time held down, by reason",
                "By the driver's own seconds counters, so nothing between two samples is missed.",
                looks.lines("percentunit", highest=1),
                (Query(share, "{{instance}} GPU {{gpu}} {{reason}}"),),
                HOT,
                width=12,
                height=9,
            ),
        ),
    )


def _links() -> Row:
    down = f"{gpu('gpuwatch_gpu_nvlink_links')} - {gpu('gpuwatch_gpu_nvlink_links_active')}"
    ends = (
        f"{gpu('gpuwatch_gpu_nvlink_link_info')} * on ({GPU}, link) group_left () {gpu('gpuwatch_gpu_nvlink_link_up')}"
    )
    both = ("receive", "transmit")
    nvlink = tuple(
        Query(gpu(f"gpuwatch_gpu_nvlink_{way}_bytes_per_second"), f"{{{{instance}}}} GPU {{{{gpu}}}} {way}")
        for way in both
    )
    pcie = tuple(
        Query(gpu(f"gpuwatch_gpu_pcie_{way}_bytes_per_second"), f"{{{{instance}}}} GPU {{{{gpu}}}} {way}")
        for way in both
    )
    wired = [f"max by ({GPU}) ({gpu(f'gpuwatch_gpu_pcie_{what}')})" for what in _PCIE_COLUMNS]
    shown = {f"Value #{chr(ord('A') + index)}": title for index, title in enumerate(_PCIE_COLUMNS.values())}
    return Row(
        "Links",
        (
            Panel("NVLink traffic", "Bytes a second over all NVLinks of a GPU.", looks.lines("Bps"), nvlink, HEALTHY),
            Panel("PCIe traffic", "Bytes a second over PCIe.", looks.lines("Bps"), pcie, HEALTHY),
            Panel(
                "PCIe link now and at most",
                "The generation falls at idle by design; fewer lanes than siblings have is a finding.",
                looks.table({}, values=shown, first=("cluster", "instance", "gpu")),
                tuple(Query(expr) for expr in wired),
                HEALTHY,
            ),
            Panel(
                "NVLinks down",
                "Of those that the board has wired, over time.",
                looks.timeline(looks.ZERO_IS_GOOD, looks.names({0: ("all up", "green")})),
                (Query(down, ON_GPU),),
                SICK,
                width=12,
                height=10,
            ),
            Panel(
                "Where each NVLink leads",
                "State, version and other end of every link.",
                looks.table(
                    {"State": Column(mappings=_UP_DOWN)},
                    values={"Value": "State"},
                    first=("cluster", "instance", "gpu", "link", "Value"),
                ),
                (Query(ends),),
                SICK,
                width=12,
                height=10,
            ),
        ),
    )


def _work() -> Row:
    labels = f"{_WORK_LABELS}, tp_group, tp_rank"
    # A process in two MIG instances of a GPU is listed twice there.
    whose = f"max by ({GPU}, pid, {labels}) ({gpu('gpuwatch_process_info')})"
    join = f"on ({GPU}, pid) group_left ({labels}) {whose}"
    memory = f"sum by ({GPU}, pid, name) ({gpu('gpuwatch_process_memory_bytes')}) * {join}"
    share = f"sum by ({GPU}, pid, name) ({gpu('gpuwatch_process_sm_ratio')}) * {join}"
    return Row(
        "Who works here",
        (
            Panel(
                "Jobs",
                "Who works on which GPU, by container, pod and Slurm job.",
                looks.table({}, values={"Value": "n"}, hidden=("Value",), first=("cluster", "instance", "gpu", "user")),
                (Query(gpu("gpuwatch_gpu_job_info", 'pod=~"$pod"', 'slurm_job=~"$slurm_job"')),),
                SLURM,
                width=10,
            ),
            Panel(
                "Processes",
                "The largest by memory on each GPU; how many is for the agent's configuration to say.",
                looks.table(
                    {"Memory": Column(unit="bytes"), "SM": Column(unit="percentunit", bar_to=1)},
                    values={"Value #A": "Memory", "Value #B": "SM"},
                    first=("cluster", "instance", "gpu", "pid", "name", "user"),
                    sort_by="Memory",
                ),
                (Query(memory), Query(share)),
                SLURM,
                width=14,
            ),
            Panel(
                "MIG instances",
                "Where a GPU is divided: the instances, with memory in use and at most.",
                looks.with_no_value(
                    looks.table(
                        {"In use": Column(unit="bytes"), "Memory": Column(unit="bytes")},
                        values={"Value #A": "In use", "Value #B": "Memory"},
                        first=("cluster", "instance", "gpu", "mig", "profile", "mig_uuid"),
                    ),
                    "No GPU here is divided.",
                ),
                tuple(
                    Query(
                        f"{gpu(f'gpuwatch_gpu_mig_memory_{what}_bytes')} * on ({GPU}, mig) group_left (profile, mig_uuid) "
                        + gpu("gpuwatch_gpu_mig_info")
                    )
                    for what in ("used", "size")
                ),
                MIG,
                width=24,
                height=5,
            ),
        ),
    )


def _machine() -> Row:
    def flow(what: str, ways: tuple[str, str]) -> tuple[Query, ...]:
        return tuple(
            Query(node(f"gpuwatch_host_{what}_{way}_bytes_per_second"), f"{{{{instance}}}} {way}") for way in ways
        )

    memory = node("gpuwatch_host_memory_used_bytes")
    size = node("gpuwatch_host_memory_size_bytes")
    return Row(
        "The machine",
        (
            Panel(
                "Processors",
                "Share of processor time that was not idle.",
                looks.lines("percentunit", highest=1),
                (Query(node("gpuwatch_host_cpu_utilization_ratio"), "{{instance}}"),),
                HEALTHY,
                width=6,
            ),
            Panel(
                "Memory",
                "In use; dashed, all there is.",
                looks.lines("bytes", limit="/^all/"),
                (Query(memory, "{{instance}}"), Query(size, "all of {{instance}}")),
                HEALTHY,
                width=6,
            ),
            Panel("Disks", "Read and written.", looks.lines("Bps"), flow("disk", ("read", "write")), HEALTHY, width=6),
            Panel(
                "Network",
                "Received and sent.",
                looks.lines("Bps"),
                flow("network", ("receive", "transmit")),
                HEALTHY,
                width=6,
            ),
        ),
    )


def _itself() -> Row:
    cpu = tuple(
        Query(node(f"gpuwatch_agent_{part}cpu_ratio"), f"{{{{instance}}}} {name}")
        for part, name in (("", "agent"), ("sampler_", "sampler"))
    )
    memory = tuple(
        Query(node(f"gpuwatch_agent_{part}memory_bytes"), f"{{{{instance}}}} {name}")
        for part, name in (("", "agent"), ("sampler_", "sampler"))
    )
    missed = node("gpuwatch_collector_missed_deadlines_total")
    return Row(
        "What gpuwatch itself costs",
        (
            Panel("Processor time", "Share of one core.", looks.lines("percentunit"), cpu, HEALTHY, width=6),
            Panel("Memory", "Shared pages in part.", looks.lines("bytes"), memory, HEALTHY, width=6),
            Panel(
                "Time of one reading",
                "Mean by collector.",
                looks.lines("s"),
                (Query(node("gpuwatch_collector_duration_seconds"), "{{instance}} {{collector}}"),),
                HEALTHY,
                width=6,
            ),
            Panel(
                "Readings that overran their deadline",
                "A second, by collector: a driver that hangs shows here first.",
                looks.lines("cps"),
                (Query(f"rate({missed}[$__rate_interval])", "{{instance}} {{collector}}"),),
                GONE,
                width=6,
            ),
        ),
    )


NODE = Board(
    name="node",
    title="gpuwatch / Node",
    about="All GPUs of one machine side by side, links, throttling, who works there, and the machine itself.",
    variables=(
        variables.datasource(),
        variables.cluster(),
        variables.one_node(),
        variables.gpu(),
        variables.slurm_job(),
        variables.pod(),
        variables.runbooks(),
    ),
    rows=(
        _now(),
        Row("State", (shared.state_cells(GONE, chosen_work=False), shared.findings(SICK))),
        _gpus(),
        _throttling(),
        _links(),
        _work(),
        _machine(),
        _itself(),
    ),
)
