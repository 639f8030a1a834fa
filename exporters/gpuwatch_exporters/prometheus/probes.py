"""What probes found last; nothing at all where none has run."""

from gpuwatch_agent.model.probe import FigureName
from gpuwatch_exporters.prometheus.family import Family, Labels, Page, Subject, View
from gpuwatch_exporters.prometheus.gpus import GPU, text

_RUN = ("ranks", "backend")
_MODEL = ("model", "tp")


def _family(name: str, help_text: str, labels: tuple[str, ...], path: str = "probes[].figures[]") -> Family:
    return Family(
        name=f"gpuwatch_probe_{name}", help=help_text, labels=labels, source="a probe that was run here", path=path
    )


LAST_RUN = _family("last_run_timestamp_seconds", "When the probe last ended.", ("probe", *_RUN), "probes[].finished_at")
PASSED = _family(
    "passed", "1 where the probe found what can be expected, 0 where it did not.", ("probe", *_RUN), "probes[].passed"
)
FIGURES: dict[FigureName, Family] = {
    "allreduce_bus_bandwidth_bytes_per_s": _family(
        "allreduce_bus_bandwidth_bytes_per_second", "Bus bandwidth of all-reduce with the largest message.", _RUN
    ),
    "allreduce_latency_s": _family(
        "allreduce_latency_seconds", "Median time of an all-reduce of the smallest message.", _RUN
    ),
    "decode_tokens_per_s": _family("decode_tokens_per_second", "Tokens generated a second.", _MODEL),
    "decode_scaling_ratio": _family(
        "decode_scaling_ratio", "Tokens a second, as a share of what the GPUs make singly together.", _MODEL
    ),
    "memory_bandwidth_bytes_per_s": _family(
        "gpu_memory_bandwidth_bytes_per_second", "Memory bandwidth that a copy reached.", GPU
    ),
    "matmul_flops": _family("gpu_matmul_flops", "Floating point operations a second of a matrix product.", GPU),
}


def _write(view: View, page: Page) -> None:
    uuids = {gpu.index: gpu.uuid for gpu in reversed(view.frame.gpus)}
    # The later one stands where a probe was run twice.
    for outcome in sorted(view.frame.probes, key=lambda outcome: outcome.finished_at):
        run = (str(outcome.ranks), text(outcome.backend))
        page.of(LAST_RUN)[outcome.kind, *run] = outcome.finished_at
        passed = page.of(PASSED)
        passed.pop((outcome.kind, *run), None)
        if outcome.passed is not None:
            passed[outcome.kind, *run] = outcome.passed
        for figure in outcome.figures:
            family = FIGURES[figure.name]
            labels: Labels = run
            if family.labels == _MODEL:
                labels = (text(figure.model), text(figure.tp))
            elif family.labels == GPU:
                labels = (text(figure.gpu), uuids.get(figure.gpu, "") if figure.gpu is not None else "")
            page.of(family)[labels] = figure.value


PROBES = Subject(
    name="probes", help="last results of probes", families=(LAST_RUN, PASSED, *FIGURES.values()), writers=(_write,)
)
