"""What a GPU is, in which state, and its declared numbers."""

from collections.abc import Callable, Sequence

from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.metrics import GPU_SUBJECTS, THROTTLE_REASONS, MetricSpec, reader
from gpuwatch_exporters.prometheus.family import Family, Labels, Page, Subject, View, family_of

GPU = ("gpu", "uuid")
_IDENTITY = ("name", "pci_bus_id", "numa_node", "architecture", "vbios_version", "serial")
_STATES = ("ok", "stale", "lost")

INFO = Family(name="gpuwatch_gpu_info", help="What the GPU is; always 1.", labels=(*GPU, *_IDENTITY), source="NVML")
STATE = Family(
    name="gpuwatch_gpu_state",
    help="1 for the state the GPU is in: ok, stale or lost.",
    labels=(*GPU, "state"),
    path="state",
)
REASON = Family(
    name="gpuwatch_gpu_throttle_reason",
    help="1 for each reason that holds the clocks down now, 0 for the others.",
    labels=(*GPU, "reason"),
    source="nvmlDeviceGetCurrentClocksEventReasons",
    path="throttle_reasons",
)


def identity(gpu: Gpu) -> Labels:
    """The labels that every series of a GPU carries first."""
    return (str(gpu.index), gpu.uuid)


def text(value: object) -> str:
    """A label's value; what is unknown is empty, which Prometheus takes for absent."""
    return "" if value is None else str(value)


def answering(view: View) -> list[Gpu]:
    """GPUs whose values are fresh: old ones would pass for it."""
    return [gpu for gpu in view.frame.gpus if gpu.state == "ok"]


def _write_identity(view: View, page: Page) -> None:
    infos, states = page.of(INFO), page.of(STATE)
    for gpu in view.frame.gpus:
        mine = identity(gpu)
        infos[(*mine, *(text(getattr(gpu, name)) for name in _IDENTITY))] = 1
        for state in _STATES:
            states[(*mine, state)] = gpu.state == state


def _write_reasons(view: View, page: Page) -> None:
    reasons = page.of(REASON)
    for gpu in answering(view):
        if gpu.throttle_reasons is not None:
            mine = identity(gpu)
            for reason in THROTTLE_REASONS:
                reasons[(*mine, reason)] = reason in gpu.throttle_reasons


def specs_writer(
    specs: Sequence[MetricSpec], *, of: Callable[[View], list[Gpu]] = answering
) -> tuple[tuple[Family, ...], Callable[[View, Page], None]]:
    """The families of declared metrics, and what writes them for the chosen GPUs."""
    families: dict[str, Family] = {spec.prometheus: family_of(spec) for spec in reversed(specs)}
    plan = [(families[spec.prometheus], tuple(value for _, value in spec.labels), spec.scale) for spec in specs]
    read = reader(specs)

    def write(view: View, page: Page) -> None:
        tables = [(page.of(family), labels, scale) for family, labels, scale in plan]
        for gpu in of(view):
            mine = identity(gpu)
            for (table, labels, scale), value in zip(tables, read(gpu), strict=True):
                if value is not None:
                    # Rounded where binary fractions would show: 0.57, not 0.5700000000000001.
                    table[mine + labels if labels else mine] = value if scale == 1 else round(value * scale, 12)

    return tuple(reversed(families.values())), write


def _declared(
    name: str, help_text: str, families: Sequence[Family] = (), *writers: Callable[[View, Page], None]
) -> Subject:
    own, write = specs_writer(GPU_SUBJECTS[name])
    return Subject(name=name, help=help_text, families=(*own, *families), writers=(write, *writers))


_age, _write_age = specs_writer(GPU_SUBJECTS["gpus"], of=lambda view: view.frame.gpus)

GPUS = Subject(
    name="gpus",
    help="what each GPU is, its state and the age of its values",
    families=(INFO, STATE, *_age),
    writers=(_write_identity, _write_age),
)
ACTIVITY = _declared("activity", "utilisation, SM, tensor and memory activity, imbalance score")
MEMORY = _declared("memory", "frame buffer and BAR1")
POWER = _declared("power", "draw, limits, energy")
THERMALS = _declared("thermals", "temperatures, their limits, fans")
CLOCKS = _declared("clocks", "clocks and performance state")
THROTTLING = _declared("throttling", "reasons that hold clocks down, and for how long", (REASON,), _write_reasons)
