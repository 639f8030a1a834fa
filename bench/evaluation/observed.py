"""Truths that follow from what the world did, not from what was planned: a hot day throttles without any fault."""

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from evaluation.labels import COSTLY, NOTICEABLE, Truth
from gpuwatch_agent.model.gpu import Gpu

THERMAL_WORDS = ("therm", "hot", "heat", "temperature", "°c")
POWER_WORDS = ("power limit", "power cap", "power-cap", "capped", "lower limit")
_SMOOTH_S = 10
_LASTING_S = 30
_LONG_ENOUGH_S = 75
_WARM_FOR_S = 120
_TAIL_S = 60.0
# How warm, against the board's own limit, counts as hot: at it for sure, a little below at pleasure.
_NEAR_LIMIT_C = 6.0


class Notes(Struct):
    """What a world writes down of each second, before any sensor spoils it."""

    reasons: list[list[frozenset[str]]]
    """By second and GPU."""
    degrees: list[list[float | None]]
    clocks: list[list[float]]
    pace: list[float]
    """Of the job in question; 1 where nothing holds it back."""

    gpus: int
    boost_mhz: list[float]
    """The clock of each board when nothing holds it down."""

    def note(self, rows: Sequence[Gpu], pace: float) -> None:
        """One second more; of a GPU that is away or silent nothing is known."""
        reasons: list[frozenset[str]] = [frozenset()] * self.gpus
        degrees: list[float | None] = [None] * self.gpus
        clocks = [0.0] * self.gpus
        for row in rows:
            if row.state == "ok":
                reasons[row.index] = frozenset(row.throttle_reasons or ())
                degrees[row.index] = row.temperature_c
                clocks[row.index] = float(row.sm_clock_mhz or 0)
        self.reasons.append(reasons)
        self.degrees.append(degrees)
        self.clocks.append(clocks)
        self.pace.append(pace)


def new_notes(boost_mhz: Sequence[float]) -> Notes:
    """An empty page, for so many boards."""
    return Notes(reasons=[], degrees=[], clocks=[], pace=[], gpus=len(boost_mhz), boost_mhz=list(boost_mhz))


def first_lasting(flags: Sequence[bool], seconds: int = _LASTING_S) -> int | None:
    """The first second from which on a condition holds most of the time for so long."""
    for start in range(len(flags) - seconds + 1):
        if flags[start] and sum(flags[start : start + seconds]) >= 0.8 * seconds:
            return start
    return None


def heat_truths(notes: Notes, throttle_at_c: Sequence[float], fault: str) -> list[Truth]:
    """Thermal throttling and heat, from the boards' own words; each begins to throttle at its own temperature."""
    found = []
    for gpu, throttle_c in enumerate(throttle_at_c):
        flags = [bool(row[gpu] & {"sw_thermal", "hw_thermal"}) for row in notes.reasons]
        found += _throttle("thermal_throttle", notes, gpu, flags, fault)
        # Who slows down already is told so by the other kind: heat by itself is what comes before.
        near = [_is_at(degrees[gpu], throttle_c - _NEAR_LIMIT_C) for degrees in notes.degrees]
        close = [_is_at(degrees[gpu], throttle_c - 2.0) for degrees in notes.degrees]
        if not any(flags) and first_lasting(close, _WARM_FOR_S) is not None:
            found += _from_flags("high_temperature", gpu, close, fault)
        if any(near):
            found.append(_allowed("high_temperature", gpu, near.index(True), fault))
        for reason, kind in (("hw_power_brake", "power_brake"), ("hw_slowdown", "hw_slowdown")):
            flags = [reason in row[gpu] for row in notes.reasons]
            explained = [bool(row[gpu] & {"hw_thermal", "hw_power_brake"}) for row in notes.reasons]
            if reason == "hw_slowdown" and any(explained):
                # The general flag goes with the special ones: naming it as well is true, and not asked for.
                found += [_allowed(kind, gpu, explained.index(True), fault)]
                continue
            found += _throttle(kind, notes, gpu, flags, fault)
    return found


def _is_at(degrees: float | None, limit_c: float) -> bool:
    return degrees is not None and degrees >= limit_c


def clock_truths(notes: Notes, groups: Sequence[Sequence[int]], fault: str) -> list[Truth]:
    """A rank whose clock is below its siblings' holds them up, be it by nobody's fault: to say so is no error."""
    found = []
    for group in groups:
        for gpu in group:
            others = [other for other in group if other != gpu]
            below = [
                clocks[gpu] < 0.97 * sorted(clocks[other] for other in others)[len(others) // 2]
                for clocks in notes.clocks
            ]
            onset = first_lasting(below, 20)
            if onset is not None:
                one = _allowed("tp_imbalance", gpu, onset, fault)
                found.append(structs.replace(one, group=frozenset(group)))
    return found


def capped_truths(notes: Notes, gpu: int, start_s: float, ends_s: float | None, fault: str) -> list[Truth]:
    """A power limit that somebody lowered, once it bites."""
    last = len(notes.reasons) if ends_s is None else int(ends_s)
    flags = [start_s <= second < last and "sw_power_cap" in row[gpu] for second, row in enumerate(notes.reasons)]
    said = _throttle("power_throttle", notes, gpu, flags, fault)
    return [*said, _allowed("power_throttle", gpu, int(start_s), fault)]


def _throttle(kind: str, notes: Notes, gpu: int, flags: Sequence[bool], fault: str) -> list[Truth]:
    """Rated by what it costs: a clock that loses a tenth is worth a warning, one that loses less a remark."""
    best = notes.boost_mhz[gpu]
    hard = [flag and clocks[gpu] <= (1.0 - COSTLY) * best for flag, clocks in zip(flags, notes.clocks, strict=True)]
    if first_lasting(hard) is not None:
        # Who warns as soon as it begins is early, and right.
        costly = [
            structs.replace(truth, starts_s=float(flags.index(True))) for truth in _from_flags(kind, gpu, hard, fault)
        ]
        return [*costly, *(truth for truth in _from_flags(kind, gpu, flags, fault) if not truth.required)]
    return [structs.replace(truth, least="info") for truth in _from_flags(kind, gpu, flags, fault)]


def _from_flags(kind: str, gpu: int, flags: Sequence[bool], fault: str) -> list[Truth]:
    onset = first_lasting(flags)
    if not any(flags):
        return []
    first = flags.index(True)
    last = len(flags) - 1 - flags[::-1].index(True)
    ends = None if last >= len(flags) - 2 else last + _TAIL_S
    allowed = _allowed(kind, gpu, first, fault)
    if onset is None:
        return [allowed]
    return [
        Truth(
            kind=kind,
            gpus=frozenset({gpu}),
            starts_s=first,
            onset_s=onset,
            ends_s=ends,
            fault=fault,
        ),
        allowed,
    ]


def _allowed(kind: str, gpu: int, start: int, fault: str) -> Truth:
    return Truth(
        kind=kind, gpus=frozenset({gpu}), starts_s=start, onset_s=start, required=False, least="info", fault=fault
    )


def losses(paces: Sequence[float], at_best: Sequence[float]) -> list[float]:
    """The part of the pace that is lost, smoothed over some seconds."""
    lost = [1.0 - now / best if best > 0.0 else 0.0 for now, best in zip(paces, at_best, strict=True)]
    return [sum(part := lost[max(0, at - _SMOOTH_S + 1) : at + 1]) / len(part) for at in range(len(lost))]


def imbalance_truths(
    lost: Sequence[float],
    make: Callable[[float, float, bool], Truth],
    start_s: float,
    ends_s: float | None,
) -> list[Truth]:
    """The imbalance that a fault makes, if it costs; `make` is given onset, cost and whether it must be found."""
    first = int(max(0.0, start_s))
    end = len(lost) if ends_s is None else min(len(lost), int(ends_s))
    if end <= first:
        return []
    onset = next((at for at in range(first, end) if lost[at] >= COSTLY), None)
    if onset is not None:
        stretch = lost[onset:end]
        cost = sum(stretch) / len(stretch)
        if cost >= COSTLY and len(stretch) >= _LONG_ENOUGH_S:
            return [make(float(onset), cost, True)]
    worst = max(lost[first:end])
    return [make(start_s, worst, False)] if worst >= NOTICEABLE else []
