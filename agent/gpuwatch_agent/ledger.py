"""What the agent remembers of GPUs beyond one sampler's life: lost ones keep their rows, silent ones their age."""

from collections.abc import Callable, Collection, Sequence

from msgspec import structs

from gpuwatch_agent.hardware.base import XidEvent
from gpuwatch_agent.model.errors import GpuLostError
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.model.gpu import Gpu, Xid

_UNOPENED = "unopened:"


class Ledger:
    """The rows of all GPUs ever seen, and their Xids."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._rows: dict[str, Gpu] = {}
        self._read_at: dict[str, float] = {}
        self._xids: dict[str, dict[int, Xid]] = {}
        self._watching_xids = False
        self._last: Frame | None = None

    def watch_xids(self, problem: str | None) -> None:
        self._watching_xids = problem is None

    def note_xid(self, event: XidEvent) -> None:
        """Count an Xid on the GPU it names, by UUID or bus id; one that names none of ours is kept for when it does."""
        counts = self._xids.setdefault(event.gpu.lower(), {})
        before = counts.get(event.code)
        counts[event.code] = Xid(
            code=event.code,
            count=(before.count if before is not None else 0) + 1,
            last_seen=event.at,
            detail=event.detail or (before.detail if before is not None else None),
        )

    def complete(self, frame: Frame) -> Frame:
        """A sampler's frame with what it can't know: GPUs that were there before it, and Xids."""
        now = self._clock()
        named = {gpu.uuid for gpu in frame.gpus}
        rows = [self._known(gpu, named, now) for gpu in frame.gpus]
        present = {gpu.uuid for gpu in rows}
        for uuid, row in self._rows.items():
            if uuid not in present and not uuid.startswith(_UNOPENED):
                rows.append(self._missing(row, now))
        for gpu in rows:
            self._rows[gpu.uuid] = gpu
        rows.sort(key=lambda gpu: (gpu.index, gpu.state == "lost"))
        self._last = structs.replace(frame, gpus=rows)
        return self._last

    def aged(self, trouble: Trouble | None, node: str, *, simulated: bool = False) -> Frame:
        """The last rows when nobody samples: stale, with their age, and why; `simulated` is for before there are any."""
        now = self._clock()
        said = f"{trouble.message} {trouble.action}" if trouble is not None else None
        rows = [
            gpu
            if gpu.state == "lost"
            else structs.replace(
                gpu,
                state="stale",
                age_s=self._age(gpu.uuid, now),
                problem=said or "Nothing has been read for a while: the values are the last that were.",
            )
            for gpu in (self._last.gpus if self._last is not None else ())
        ]
        if self._last is None:
            return Frame(node=node, taken_at=self._wall_clock(), simulated=simulated, gpus=rows, trouble=trouble)
        return structs.replace(self._last, taken_at=self._wall_clock(), gpus=rows, trouble=trouble)

    def _known(self, gpu: Gpu, named: Collection[str], now: float) -> Gpu:
        if gpu.uuid.startswith(_UNOPENED):
            former = self._former_at(gpu.index, named)
            if former is not None:
                return structs.replace(
                    former,
                    state=gpu.state,
                    problem=gpu.problem,
                    age_s=self._age(former.uuid, now),
                    xids=self._xids_of(former),
                )
        if gpu.age_s is not None:
            self._read_at[gpu.uuid] = now - gpu.age_s
        elif (former := self._rows.get(gpu.uuid)) is not None:
            # This sampler has never had an answer from it, an earlier one had.
            gpu = structs.replace(
                former, index=gpu.index, state=gpu.state, problem=gpu.problem, age_s=self._age(gpu.uuid, now)
            )
        return self._with_xids(gpu)

    def _with_xids(self, gpu: Gpu) -> Gpu:
        """The row with what was seen; where somebody watches, nothing seen is an answer and no gap."""
        xids = self._xids_of(gpu)
        if xids is None:
            return gpu
        return structs.replace(gpu, xids=xids, absent={path: why for path, why in gpu.absent.items() if path != "xids"})

    def _former_at(self, index: int, named: Collection[str]) -> Gpu | None:
        """The GPU that had this index and goes by no name in the frame; one that was still there before one long lost."""
        candidates = [
            row
            for uuid, row in self._rows.items()
            if row.index == index and uuid not in named and not uuid.startswith(_UNOPENED)
        ]
        return min(candidates, key=lambda row: row.state == "lost", default=None)

    def _missing(self, row: Gpu, now: float) -> Gpu:
        problem = (
            row.problem if row.state == "lost" and row.problem else f"The driver no longer lists it. {GpuLostError()}"
        )
        return structs.replace(
            row,
            state="lost",
            problem=problem,
            age_s=self._age(row.uuid, now),
            processes=None,
            xids=self._xids_of(row),
        )

    def _age(self, uuid: str, now: float) -> float | None:
        read_at = self._read_at.get(uuid)
        return round(now - read_at, 3) if read_at is not None else None

    def _xids_of(self, gpu: Gpu) -> list[Xid] | None:
        found: dict[int, Xid] = {}
        for name in _names(gpu):
            found.update(self._xids.get(name, {}))
        if not found and not self._watching_xids:
            return None
        return [found[code] for code in sorted(found)]


def _names(gpu: Gpu) -> Sequence[str]:
    """How an Xid may name a GPU: its UUID, or its bus id without the function, with a short domain."""
    names = [gpu.uuid.lower()]
    if gpu.pci_bus_id:
        short = gpu.pci_bus_id.lower()[-12:]
        names += [short, short.partition(".")[0]]
    return names
