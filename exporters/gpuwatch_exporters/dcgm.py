"""A frame under the names, units and labels of dcgm-exporter, for dashboards and rules that people already have.

Always in the classic text format: OpenMetrics does not allow counters under such names, and dcgm-exporter does not
speak it either. As everywhere, what is unknown, stale or lost has no sample.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from gpuwatch_agent.detectors.xid_table import look_up
from gpuwatch_agent.model.gpu import Gpu, MigInstance, Xid
from gpuwatch_agent.model.metrics import SPECS, Value, reader
from gpuwatch_agent.model.process import Process
from gpuwatch_exporters.dcgm_fields import FIELDS, DcgmField, Number
from gpuwatch_exporters.prometheus.exposition import Dialect
from gpuwatch_exporters.prometheus.family import Family, Labels, Page, Subject, View

HostLabel = Literal["Hostname", "hostname", "both"]
XID_WINDOW_S = 300.0

_IDENTITY = ("gpu", "UUID", "pci_bus_id", "device", "modelName")
_SLICE = ("GPU_I_PROFILE", "GPU_I_ID")
_DRIVER = "DCGM_FI_DRIVER_VERSION"
_JOB = ("hpc_job", "pod_uid")
_NOT_DIVIDED: Labels = ("", "")
_LAST_XID = "DCGM_FI_DEV_XID_ERRORS"
_XID_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"
_PROFILE = re.compile(r"MIG (?:\d+c\.)?(\S+)$")
_SUBJECT_HELP = {
    "default": "what dcgm-exporter exports unless told otherwise",
    "activity": "SM activity and occupancy, memory sizes, BAR1",
    "power": "power limits, temperature limits, highest clocks",
    "throttling": "throttle reasons and times",
    "health": "ECC, retired pages, pending row remaps",
    "links": "PCIe and NVLink: width, traffic, errors",
    "modes": "MIG and persistence mode",
}


def dcgm_dialect(host_label: HostLabel = "Hostname") -> Dialect:
    """A dialect of its own for each route: it remembers Xids from frame to frame, because DCGM counts in a window."""
    hosts = ("Hostname", "hostname") if host_label == "both" else (host_label,)
    subjects = [_subject(name, fields, hosts) for name, fields in FIELDS.items()]
    return Dialect(subjects=(*subjects, _xid_subject(hosts)), forms=("text",))


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


class _Names(NamedTuple):
    """The labels of one row but for those that only some families have, in the order of `_labels`."""

    identity: Labels
    whence: Labels
    job: Labels

    def of(self, slice_: Labels = _NOT_DIVIDED) -> Labels:
        return (*self.identity, *slice_, *self.whence, *self.job)


def _labels(hosts: Sequence[str]) -> tuple[str, ...]:
    return (*_IDENTITY, *_SLICE, *hosts, _DRIVER, *_JOB)


def _names(gpu: Gpu, view: View, hosts: Sequence[str], processes: Sequence[Process]) -> _Names:
    frame = view.frame
    return _Names(
        identity=(str(gpu.index), gpu.uuid, gpu.pci_bus_id or "", f"nvidia{gpu.index}", gpu.name or ""),
        whence=(*(frame.node for _ in hosts), frame.driver_version or ""),
        job=(_only(one.slurm_job for one in processes), _only(one.pod for one in processes)),
    )


def _only(values: Iterator[str | None]) -> str:
    """What all that say something agree on; nothing where two jobs share the GPU."""
    named = {value for value in values if value}
    return named.pop() if len(named) == 1 else ""


def _answering(view: View) -> list[Gpu]:
    return [gpu for gpu in view.frame.gpus if gpu.state == "ok"]


def _subject(name: str, fields: Sequence[DcgmField], hosts: Sequence[str]) -> Subject:
    families = {field.name: _family(field, hosts) for field in fields}
    plain = [field for field in fields if field.path]
    read = reader([SPECS[field.path] for field in plain])

    def write(view: View, page: Page) -> None:
        for field in fields:
            page.of(families[field.name])  # DCGM's order, whatever the first GPU has
        for gpu in _answering(view):
            values = dict(zip((field.name for field in plain), read(gpu), strict=True))
            row = _names(gpu, view, hosts, gpu.processes or []).of()
            slices = [(part, _slice_names(gpu, part, view, hosts)) for part in _slices(gpu)]
            for field in fields:
                samples = page.of(families[field.name])
                for labels, value in _values(field, gpu, values, row, slices):
                    if value is not None:
                        samples[labels] = _scaled(value, field)

    return Subject(name=name, help=_SUBJECT_HELP[name], families=tuple(families.values()), writers=(write,))


def _family(field: DcgmField, hosts: Sequence[str]) -> Family:
    extra = ("err_code", "err_msg") if field.name == _LAST_XID else ()
    return Family(
        name=field.name,
        kind=field.kind,
        help=field.help,
        labels=(*_labels(hosts), *extra),
        path=field.path,
        sparse=True,
    )


def _values(
    field: DcgmField, gpu: Gpu, plain: dict[str, Value], row: Labels, slices: Sequence[tuple[MigInstance, Labels]]
) -> Iterator[tuple[Labels, Number]]:
    """The samples of one field: one, or one for each slice that a GPU is cut into."""
    if field.of_instance is not None and slices:
        for part, labels in slices:
            yield labels, field.of_instance(part)
    elif field.derive is None:
        yield row, plain[field.name]
    elif (value := field.derive(gpu)) is not None:
        yield (*row, *_xid_words(int(value))) if field.name == _LAST_XID else row, value


def _scaled(value: float, field: DcgmField) -> float:
    # Rounded where binary fractions would show: 0.57, not 0.5700000000000001.
    return round(value * field.scale) if field.whole else round(value * field.scale, 6)


def _xid_words(code: int) -> Labels:
    return str(code), look_up(code).name if code else "No Error"


def _slices(gpu: Gpu) -> list[MigInstance]:
    """One for each GPU instance: its compute instances share its memory and its multiprocessors."""
    if gpu.mig is None or not gpu.mig.enabled:
        return []
    first: dict[int, MigInstance] = {}
    for part in gpu.mig.instances:
        if part.gpu_instance is not None:
            first.setdefault(part.gpu_instance, part)
    return list(first.values())


def _slice_names(gpu: Gpu, part: MigInstance, view: View, hosts: Sequence[str]) -> Labels:
    profile = _PROFILE.search(part.name or "")
    tenants = [one for one in gpu.processes or [] if one.gpu_instance == part.gpu_instance]
    return _names(gpu, view, hosts, tenants).of((profile[1] if profile else "", str(part.gpu_instance)))


def _xid_subject(hosts: Sequence[str]) -> Subject:
    window = XidWindow(XID_WINDOW_S)
    family = Family(
        name=_XID_COUNT,
        kind="counter",
        help="reported XIDs during last window",
        labels=(*_labels(hosts), "window_size_in_ms", "xid"),
        sparse=True,
    )
    return Subject(
        name="xids",
        help="Xids of the last five minutes by code",
        families=(family,),
        writers=(_xid_writer(window, family, hosts),),
    )


def _xid_writer(window: XidWindow, family: Family, hosts: Sequence[str]) -> Callable[[View, Page], None]:
    size = f"{XID_WINDOW_S * 1000:.0f}"

    def write(view: View, page: Page) -> None:
        samples = page.of(family)
        for gpu in _answering(view):
            if gpu.xids is None:
                continue
            row = _names(gpu, view, hosts, gpu.processes or []).of()
            # As DCGM has it: a 0 without a code where none has come.
            for code, count in window.counted(gpu, view.frame.taken_at).items() or [("", 0)]:
                samples[*row, size, str(code)] = count

    return write
