"""`/metrics`: families built from the current frame at scrape time. The driver is never touched by a scrape.

There are no long-lived gauges, so a GPU that is gone leaves no series behind, and what has no value has no sample. A GPU
that is stale or lost has its state and the age of its values, and not those values: they would pass for fresh.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from starlette.types import Scope, Send

from gpuwatch_agent.api.frame_routes import no_frame_yet
from gpuwatch_agent.api.replies import Plain, headers_of, send_reply
from gpuwatch_agent.hub import FrameHub
from gpuwatch_agent.model.frame import Cost, Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.metrics import GPU_SPECS, HOST_SPECS, MetricSpec, Value, reader

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_read_gpu = reader(GPU_SPECS)
_read_host = reader(HOST_SPECS)
_AGE = "gpuwatch_gpu_reading_age_seconds"
_INFO_LABELS = ("gpu", "uuid", "name", "pci_bus_id", "numa_node", "architecture", "vbios_version", "serial")
_STATES = ("ok", "stale", "lost")


class _FrameRegistry:
    """What prometheus-client's encoders ask: the families of one frame."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def collect(self) -> "Iterator[Metric]":
        return families_of(self._frame)


def families_of(frame: Frame) -> "Iterator[Metric]":
    """Every family that the frame has values for."""
    yield from _gpu_families(frame.gpus)
    yield from _host_families(frame)
    yield from _own_families(frame)


def render(frame: Frame, accept: str = "") -> tuple[bytes, str]:
    """The frame as exposition text, OpenMetrics where the scraper asks for it, and its content type."""
    # Imported at the first scrape: a node that nobody scrapes does not pay for it.
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    body: bytes = encode(_FrameRegistry(frame))
    return body, content_type


class MetricsRoute(Plain):
    """The scrape endpoint; a second scrape of the same frame costs next to nothing."""

    def __init__(self, hub: FrameHub) -> None:
        self._hub = hub
        self._rendered: dict[str, tuple[Frame, bytes, str]] = {}

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer a scrape."""
        frame = self._hub.latest
        if frame is None:
            raise no_frame_yet()
        accept = headers_of(scope).get(b"accept", b"").decode("latin-1")
        form = "openmetrics" if "application/openmetrics-text" in accept else "text"
        known = self._rendered.get(form)
        if known is None or known[0] is not frame:
            known = self._rendered[form] = (frame, *render(frame, accept))
        headers = [(b"content-type", known[2].encode()), (b"cache-control", b"no-store")]
        await send_reply(scope, send, 200, headers, known[1])


def _family(spec: MetricSpec, labels: Iterable[str]) -> "GaugeMetricFamily | CounterMetricFamily":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    names = [*labels, *(name for name, _ in spec.labels)]
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    return kind(
        spec.prometheus.removesuffix("_total") if spec.kind == "counter" else spec.prometheus, spec.help, labels=names
    )


def _number(value: Value, scale: float) -> float:
    # Rounded where binary fractions would show: 0.57, not 0.5700000000000001.
    return round(float(value or 0) * scale, 12)


def _gpu_families(gpus: list[Gpu]) -> "Iterator[Metric]":
    from prometheus_client.core import GaugeMetricFamily

    info = GaugeMetricFamily("gpuwatch_gpu_info", "What the GPU is; always 1.", labels=_INFO_LABELS)
    states = GaugeMetricFamily(
        "gpuwatch_gpu_state", "1 for the state the GPU is in: ok, stale or lost.", labels=("gpu", "uuid", "state")
    )
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for gpu in gpus:
        identity = (str(gpu.index), gpu.uuid)
        known = [getattr(gpu, name) for name in _INFO_LABELS[2:]]
        info.add_metric([*identity, *("" if value is None else str(value) for value in known)], 1)
        for state in _STATES:
            states.add_metric([*identity, state], float(gpu.state == state))
        for spec, value in zip(GPU_SPECS, _read_gpu(gpu), strict=True):
            if value is None or (gpu.state != "ok" and spec.prometheus != _AGE):
                continue
            family = families.get(spec.prometheus)
            if family is None:
                family = families[spec.prometheus] = _family(spec, ("gpu", "uuid"))
            family.add_metric([*identity, *(label for _, label in spec.labels)], _number(value, spec.scale))
    yield info
    yield states
    yield from families.values()


def _host_families(frame: Frame) -> "Iterator[Metric]":
    if frame.host is None:
        return
    for spec, value in zip(HOST_SPECS, _read_host(frame.host), strict=True):
        if value is not None:
            family = _family(spec, ())
            family.add_metric([label for _, label in spec.labels], _number(value, spec.scale))
            yield family


def _own_families(frame: Frame) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("gpuwatch_frame_timestamp_seconds", "When the frame was taken.", value=frame.taken_at)
    yield GaugeMetricFamily("gpuwatch_simulated", "1 where the hardware is simulated.", value=float(frame.simulated))
    yield GaugeMetricFamily(
        "gpuwatch_driver_usable", "0 where the driver as a whole can't be read.", value=float(frame.trouble is None)
    )
    cost = frame.agent
    if cost is None:
        return
    for name, text, value in _own_gauges(cost):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=value)
    yield CounterMetricFamily(
        "gpuwatch_agent_sampler_restarts", "Starts of the sampler after the first.", value=cost.sampler_restarts
    )
    yield CounterMetricFamily(
        "gpuwatch_agent_missed_deadlines", "Readings that overran their deadline.", value=cost.missed_deadlines
    )
    durations = GaugeMetricFamily(
        "gpuwatch_collector_duration_seconds", "Mean time of one reading.", labels=("collector",)
    )
    runs = CounterMetricFamily("gpuwatch_collector_runs", "Readings made, over all GPUs.", labels=("collector",))
    failures = CounterMetricFamily("gpuwatch_collector_failures", "Readings that failed.", labels=("collector",))
    for collector in cost.collectors:
        if collector.mean_ms is not None:
            durations.add_metric([collector.name], collector.mean_ms / 1000)
        runs.add_metric([collector.name], collector.runs)
        failures.add_metric([collector.name], collector.failures)
    yield durations
    yield runs
    yield failures
    yield from _notification_families(cost)


def _notification_families(cost: Cost) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    if not cost.notifications:
        return
    sent = CounterMetricFamily("gpuwatch_notifications_sent", "Messages delivered.", labels=("target",))
    failed = CounterMetricFamily("gpuwatch_notifications_failed", "Messages given up.", labels=("target",))
    dropped = CounterMetricFamily(
        "gpuwatch_notifications_dropped", "Messages pushed out by newer ones.", labels=("target",)
    )
    waiting = GaugeMetricFamily("gpuwatch_notifications_waiting", "Messages not delivered yet.", labels=("target",))
    for target in cost.notifications:
        sent.add_metric([target.name], target.sent)
        failed.add_metric([target.name], target.failed)
        dropped.add_metric([target.name], target.dropped)
        waiting.add_metric([target.name], target.waiting)
    yield from (sent, failed, dropped, waiting)


def _own_gauges(cost: Cost) -> Iterable[tuple[str, str, float | None]]:
    def ratio(percent: float | None) -> float | None:
        return percent / 100 if percent is not None else None

    return (
        ("gpuwatch_agent_interval_seconds", "Time between two samples.", cost.interval_s),
        ("gpuwatch_agent_cpu_ratio", "Share of one core the agent takes.", ratio(cost.cpu_pct)),
        ("gpuwatch_agent_memory_bytes", "Memory of the agent, shared pages in part.", cost.memory_bytes),
        ("gpuwatch_agent_sampler_cpu_ratio", "Share of one core the sampler takes.", ratio(cost.sampler_cpu_pct)),
        (
            "gpuwatch_agent_sampler_memory_bytes",
            "Memory of the sampler, shared pages in part.",
            cost.sampler_memory_bytes,
        ),
    )
