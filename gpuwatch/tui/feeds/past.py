"""Frames as an agent's history tells them: the numbers of that time, and nothing that it does not hold."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gpuwatch_agent.history import HistoryAnswer, HistorySeries
from gpuwatch_agent.model.finding import Finding, FindingEvent
from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.host import Host
from gpuwatch_agent.model.metrics import SPECS, MetricSpec

_SILENT = "It did not answer then; more of that moment is not known."


class _Column(Struct, frozen=True):
    """One metric's values, and where each belongs in its owner."""

    spec: MetricSpec
    group: str
    field: str
    values: Sequence[float | int | None]

    def put(self, place: int, into: dict[str, Any]) -> None:
        value = self.values[place]
        if value is None:
            return
        fitting = bool(value) if self.spec.unit == "bool" else round(value) if self.spec.whole else value
        holder = into.setdefault(self.group, {}) if self.group else into
        holder[self.field] = fitting


class _Owner:
    """One GPU or the host: its columns on the time axis of the answer they came with."""

    def __init__(self, answer: HistoryAnswer, series: Sequence[HistorySeries]) -> None:
        self.places = {at: place for place, at in enumerate(answer.taken_at) if at is not None}
        self.index = series[0].gpu
        self._columns: list[_Column] = []
        for one in series:
            spec = SPECS.get(one.metric)  # an agent of another release may know more
            if spec is not None:
                group, _, field = spec.path.rpartition(".")
                self._columns.append(_Column(spec, group, field, one.values))

    def at(self, moment: float) -> dict[str, Any]:
        """What there is of it at that time."""
        found: dict[str, Any] = {}
        place = self.places.get(moment)
        if place is not None:
            for column in self._columns:
                column.put(place, found)
        if isinstance(found.get("mig"), dict) and "enabled" not in found["mig"]:
            del found["mig"]
        return found


class Past:
    """Answers about GPUs and host at the same steps, as frames. `like` is a frame of the same node, for its names."""

    def __init__(self, answers: Sequence[HistoryAnswer], like: Frame, events: Sequence[FindingEvent]) -> None:
        self._like = like
        self._events = sorted(events, key=lambda event: event.at)
        self._gpus: dict[str, _Owner] = {}
        self._host: _Owner | None = None
        self.step_s = max((answer.step_s for answer in answers), default=1.0)
        common: set[float] | None = None
        for answer in answers:
            owned: dict[str | None, list[HistorySeries]] = {}
            for series in answer.series:
                owned.setdefault(series.uuid, []).append(series)
            for uuid, series_of_one in owned.items():
                owner = _Owner(answer, series_of_one)
                if uuid is None:
                    self._host = owner
                else:
                    self._gpus[uuid] = owner
                    # The newest moment of an answer may be missing in the one that was asked for before it.
                    common = set(owner.places) if common is None else common & owner.places.keys()
        self.moments = sorted(common or ())

    def frames(self, *, after: float = float("-inf"), before: float = float("inf")) -> Iterator[Frame]:
        """The oldest first."""
        for moment in self.moments:
            if after < moment < before:
                yield self._frame(moment)

    def _frame(self, moment: float) -> Frame:
        host = self._host.at(moment) if self._host is not None else {}
        gpus = [gpu for uuid, owner in self._gpus.items() if (gpu := self._gpu(uuid, owner, moment)) is not None]
        return Frame(
            node=self._like.node,
            taken_at=moment,
            simulated=self._like.simulated,
            host=msgspec.convert(host, Host) if host else None,
            gpus=sorted(gpus, key=lambda gpu: gpu.index),
            findings=self._open_at(moment),
        )

    def _gpu(self, uuid: str, owner: _Owner, moment: float) -> Gpu | None:
        found = owner.at(moment)
        if not found:
            return None
        known = next((gpu for gpu in self._like.gpus if gpu.uuid == uuid), None)
        if found.keys() == {"age_s"}:
            found |= {"state": "stale", "problem": _SILENT}
        if known is not None:
            found |= {"name": known.name, "pci_bus_id": known.pci_bus_id}
        return msgspec.convert({**found, "index": owner.index or 0, "uuid": uuid}, Gpu)

    def _open_at(self, moment: float) -> list[Finding]:
        """Findings that had been raised by then and not yet cleared, the worst first."""
        standing: dict[tuple[str, str], Finding] = {}
        for event in self._events:
            if event.at > moment:
                break
            key = (event.finding.kind, event.finding.key or str(event.finding.gpus))
            if event.event == "cleared":
                standing.pop(key, None)
            else:
                standing[key] = event.finding
        order = {"critical": 0, "warning": 1, "info": 2}
        return sorted(standing.values(), key=lambda finding: (order[finding.severity], finding.since))
