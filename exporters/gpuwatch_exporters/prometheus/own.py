"""gpuwatch's account of itself: cost, collectors, notifications."""

from gpuwatch_agent.model.frame import Cost
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View

_COLLECTOR, _TARGET = ("collector",), ("target",)


def _gauge(name: str, help_text: str, path: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=f"gpuwatch_{name}", help=help_text, labels=labels, path=path)


def _counter(name: str, help_text: str, path: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=f"gpuwatch_{name}_total", kind="counter", help=help_text, labels=labels, path=path)


INTERVAL = _gauge("agent_interval_seconds", "Time between two samples.", "agent.interval_s")
SAMPLE = _gauge("agent_sample_seconds", "Processor time of the last sample, over all GPUs.", "agent.sample_ms")
SAMPLES = _counter("agent_samples", "Samples taken since the sampler was started.", "agent.samples")
CPU = _gauge("agent_cpu_ratio", "Share of one core the agent takes.", "agent.cpu_pct")
MEMORY = _gauge("agent_memory_bytes", "Memory of the agent, shared pages in part.", "agent.memory_bytes")
SAMPLER_CPU = _gauge("agent_sampler_cpu_ratio", "Share of one core the sampler takes.", "agent.sampler_cpu_pct")
SAMPLER_MEMORY = _gauge(
    "agent_sampler_memory_bytes", "Memory of the sampler, shared pages in part.", "agent.sampler_memory_bytes"
)
RESTARTS = _counter("agent_sampler_restarts", "Starts of the sampler after the first.", "agent.sampler_restarts")
MISSED = _counter("agent_missed_deadlines", "Readings that overran their deadline.", "agent.missed_deadlines")

DURATION = _gauge("collector_duration_seconds", "Mean time of one reading.", "agent.collectors[].mean_ms", _COLLECTOR)
RUNS = _counter("collector_runs", "Readings made, over all GPUs.", "agent.collectors[].runs", _COLLECTOR)
FAILURES = _counter("collector_failures", "Readings that failed.", "agent.collectors[].failures", _COLLECTOR)
COLLECTOR_MISSED = _counter(
    "collector_missed_deadlines",
    "Readings of the collector that overran their deadline.",
    "agent.collectors[].missed_deadlines",
    _COLLECTOR,
)
SUCCESS = _gauge(
    "collector_success",
    "1 where no reading of the collector's last round failed, on any GPU.",
    "agent.collectors[].succeeded",
    _COLLECTOR,
)
LAST_SUCCESS = _gauge(
    "collector_last_success_timestamp_seconds",
    "When the collector last read all GPUs without a failure.",
    "agent.collectors[].last_success_at",
    _COLLECTOR,
)

SENT = _counter("notifications_sent", "Messages delivered.", "agent.notifications[].sent", _TARGET)
FAILED = _counter("notifications_failed", "Messages given up.", "agent.notifications[].failed", _TARGET)
DROPPED = _counter(
    "notifications_dropped", "Messages pushed out by newer ones.", "agent.notifications[].dropped", _TARGET
)
WAITING = _gauge("notifications_waiting", "Messages not delivered yet.", "agent.notifications[].waiting", _TARGET)


def _write_agent(view: View, page: Page) -> None:
    cost = view.frame.agent
    if cost is None:
        return
    for family, value in (
        (INTERVAL, cost.interval_s),
        (SAMPLE, _scaled(cost.sample_ms, 1e-3)),
        (SAMPLES, cost.samples),
        (CPU, _scaled(cost.cpu_pct, 0.01)),
        (MEMORY, cost.memory_bytes),
        (SAMPLER_CPU, _scaled(cost.sampler_cpu_pct, 0.01)),
        (SAMPLER_MEMORY, cost.sampler_memory_bytes),
        (RESTARTS, cost.sampler_restarts),
        (MISSED, cost.missed_deadlines),
    ):
        if value is not None:
            page.of(family)[()] = value


def _scaled(value: float | None, scale: float) -> float | None:
    return round(value * scale, 12) if value is not None else None


def _write_collectors(view: View, page: Page) -> None:
    cost = view.frame.agent
    for collector in cost.collectors if cost is not None else ():
        labels = (collector.name,)
        page.of(RUNS)[labels] = collector.runs
        page.of(FAILURES)[labels] = collector.failures
        page.of(COLLECTOR_MISSED)[labels] = collector.missed_deadlines
        if collector.mean_ms is not None:
            page.of(DURATION)[labels] = round(collector.mean_ms / 1000, 12)
        if collector.succeeded is not None:
            page.of(SUCCESS)[labels] = collector.succeeded
        if collector.last_success_at is not None:
            page.of(LAST_SUCCESS)[labels] = collector.last_success_at


def _write_notifications(view: View, page: Page) -> None:
    cost: Cost | None = view.frame.agent
    for target in cost.notifications if cost is not None else ():
        labels = (target.name,)
        page.of(SENT)[labels] = target.sent
        page.of(FAILED)[labels] = target.failed
        page.of(DROPPED)[labels] = target.dropped
        page.of(WAITING)[labels] = target.waiting


AGENT = Subject(
    name="agent",
    help="what gpuwatch itself costs",
    families=(INTERVAL, SAMPLE, SAMPLES, CPU, MEMORY, SAMPLER_CPU, SAMPLER_MEMORY, RESTARTS, MISSED),
    writers=(_write_agent,),
)
COLLECTORS = Subject(
    name="collectors",
    help="each collector's time, runs, failures, last success",
    families=(DURATION, RUNS, FAILURES, COLLECTOR_MISSED, SUCCESS, LAST_SUCCESS),
    writers=(_write_collectors,),
)
NOTIFICATIONS = Subject(
    name="notifications",
    help="messages to people",
    families=(SENT, FAILED, DROPPED, WAITING),
    writers=(_write_notifications,),
)
