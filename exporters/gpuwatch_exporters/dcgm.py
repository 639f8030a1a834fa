"""A frame under the names, units and labels of dcgm-exporter, for dashboards and rules that people already have.

Always in the classic text format: OpenMetrics does not allow counters under such names, and dcgm-exporter does not
speak it either. As everywhere, what is unknown, stale or lost has no sample.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from gpuwatch_agent.detectors.xid_table import look_up
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu, MigInstance, Xid
from gpuwatch_agent.model.metrics import SPECS, Value, reader
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.dcgm_fields import DEFAULT_FIELDS, OPTIONAL_FIELDS, DcgmField, Number

HostLabel = Literal["Hostname", "hostname", "both"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
XID_WINDOW_S = 300.0

_FIELDS = (*DEFAULT_FIELDS, *OPTIONAL_FIELDS)
_PLAIN = tuple(field for field in _FIELDS if field.path)
_read_plain = reader([SPECS[field.path] for field in _PLAIN])
_PROFILE = re.compile(r"MIG (?:\d+c\.)?(\S+)$")
_LAST_XID = "DCGM_FI_DEV_XID_ERRORS"
_XID_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class DcgmText:
    """Renders frames; remembers from one to the next how often each Xid was counted, because DCGM counts in a window."""

    def __init__(self, host_label: HostLabel = "Hostname") -> None:
        self._host_labels = ("Hostname", "hostname") if host_label == "both" else (host_label,)
        self._xids = XidWindow(XID_WINDOW_S)

    def render(self, frame: Frame) -> bytes:
        """The whole exposition."""
        lines: dict[str, list[str]] = {field.name: [] for field in _FIELDS}
        counts: list[str] = []
        for gpu in frame.gpus:
            if gpu.state == "ok":
                row = _Row(gpu, frame, self._host_labels)
                row.write(lines)
                counts += row.xid_counts(self._xids, frame.taken_at)
        families = [_family(field.name, field.kind, field.help, lines[field.name]) for field in _FIELDS]
        families.append(_family(_XID_COUNT, "counter", "reported XIDs during last window", counts))
        return "".join(families).encode()


class XidWindow:
    """How often each Xid came within the last minutes, told from counts that only grow, whenever somebody looks."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._looks: dict[tuple[str, int], list[tuple[float, int]]] = {}
        self._known: set[str] = set()

    def counted(self, gpu: Gpu, now: float) -> dict[int, int]:
        """By code, for codes that came at all."""
        counts = {xid.code: self._count(gpu.uuid, xid, now) for xid in gpu.xids or []}
        self._known.add(gpu.uuid)
        return {code: count for code, count in counts.items() if count}

    def _count(self, uuid: str, xid: Xid, now: float) -> int:
        looks = self._looks.get((uuid, xid.code))
        if looks is None:
            # Seen before anybody looked: only the last one's time is known, so only that one is counted.
            before = xid.count - 1 if uuid not in self._known else 0
            looks = self._looks[uuid, xid.code] = [(float("-inf"), before)]
        if looks[-1][1] != xid.count:
            looks.append((xid.last_seen, xid.count))
        start = now - self._window_s
        while len(looks) > 1 and looks[1][0] < start:
            del looks[0]
        return xid.count - looks[0][1]


class _Row:
    """One GPU's samples; its labels are put together once."""

    def __init__(self, gpu: Gpu, frame: Frame, host_labels: tuple[str, ...]) -> None:
        self._gpu = gpu
        self._identity = [
            ("gpu", str(gpu.index)),
            ("UUID", gpu.uuid),
            ("pci_bus_id", gpu.pci_bus_id or ""),
            ("device", f"nvidia{gpu.index}"),
            ("modelName", gpu.name or ""),
        ]
        driver = [("DCGM_FI_DRIVER_VERSION", frame.driver_version)] if frame.driver_version is not None else []
        self._whence = [*((label, frame.node) for label in host_labels), *driver]
        self._labels = self._labelled(job=_job_of(gpu.processes or []))
        self._slices = [(part, self._slice_labels(part)) for part in _slices(gpu)]

    def write(self, lines: dict[str, list[str]]) -> None:
        """Add every field's samples to the lines under its name."""
        plain: dict[str, Value] = {
            field.name: value for field, value in zip(_PLAIN, _read_plain(self._gpu), strict=True)
        }
        for field in _FIELDS:
            for labels, value in self._values(field, plain):
                if value is not None:
                    lines[field.name].append(f"{field.name}{{{labels}}} {_number(value, field)}")

    def xid_counts(self, window: XidWindow, now: float) -> list[str]:
        """The Xids of the last minutes; a 0 without a code where there are none."""
        if self._gpu.xids is None:
            return []
        counts = window.counted(self._gpu, now)
        size = [("window_size_in_ms", f"{XID_WINDOW_S * 1000:.0f}")]
        rows = [([*size, ("xid", str(code))], count) for code, count in sorted(counts.items())] or [(size, 0)]
        return [f"{_XID_COUNT}{{{self._labelled(extra)}}} {count}" for extra, count in rows]

    def _values(self, field: DcgmField, plain: dict[str, Value]) -> Iterator[tuple[str, Number]]:
        if field.of_instance is not None and self._slices:
            for part, labels in self._slices:
                yield labels, field.of_instance(part)
        elif field.derive is None:
            yield self._labels, plain[field.name]
        elif field.name == _LAST_XID:
            code = field.derive(self._gpu)
            yield self._labelled(_xid_labels(code)) if code is not None else "", code
        else:
            yield self._labels, field.derive(self._gpu)

    def _slice_labels(self, part: MigInstance) -> str:
        profile = _PROFILE.search(part.name or "")
        which = [("GPU_I_PROFILE", profile[1] if profile else ""), ("GPU_I_ID", str(part.gpu_instance))]
        tenants = [one for one in self._gpu.processes or [] if one.gpu_instance == part.gpu_instance]
        return self._labelled(instance=which, job=_job_of(tenants))

    def _labelled(
        self,
        extra: Iterable[tuple[str, str]] = (),
        instance: Iterable[tuple[str, str]] = (),
        job: Iterable[tuple[str, str]] = (),
    ) -> str:
        pairs = [*self._identity, *instance, *self._whence, *extra, *job]
        return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)


def _family(name: str, kind: str, help_text: str, samples: list[str]) -> str:
    if not samples:
        return ""
    return "\n".join((f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *samples, ""))


def _number(value: float, field: DcgmField) -> str:
    scaled = value * field.scale
    return str(round(scaled)) if field.whole else f"{scaled:.6f}"


def _slices(gpu: Gpu) -> list[MigInstance]:
    """One for each GPU instance: its compute instances share its memory and its multiprocessors."""
    if gpu.mig is None or not gpu.mig.enabled:
        return []
    first: dict[int, MigInstance] = {}
    for part in gpu.mig.instances:
        if part.gpu_instance is not None:
            first.setdefault(part.gpu_instance, part)
    return list(first.values())


def _job_of(processes: list[Process]) -> list[tuple[str, str]]:
    """What DCGM's mapping of jobs and pods says, where all that work there agree."""
    ways: tuple[tuple[str, Callable[[Process], str | None]], ...] = (
        ("hpc_job", lambda process: process.slurm_job),
        ("pod_uid", lambda process: process.pod),
    )
    found = []
    for label, read in ways:
        named = {value for process in processes if (value := read(process))}
        if len(named) == 1:
            found.append((label, named.pop()))
    return found


def _xid_labels(code: Number) -> list[tuple[str, str]]:
    return [("err_code", str(code)), ("err_msg", look_up(int(code)).name if code else "No Error")]
