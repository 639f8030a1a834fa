"""How hot a GPU is against its own limit and against its siblings."""

from collections.abc import Sequence

from msgspec import Struct

from gpuwatch_agent.detectors.window import GpuView, Window

# From where drivers start to slow to where the hardware does lie up to 12 degrees (T4: 85 and 93, RTX 3090: 83 and 95).
FAR_FROM_LIMIT_C = 15.0
NEAR_LIMIT_C = 8.0
# Boards in the hot part of a chassis are this much warmer without anything being wrong.
_ODD_ONE_OUT_C = 8.0
_SIMILAR_WORK = 0.6
_FLAT_OUT_PCT = 95.0


class Headroom(Struct, frozen=True, kw_only=True, gc=False):
    """How far a GPU is from the temperature at which it slows down."""

    temperature_c: float
    limit_c: float
    by_margin: bool = False
    """The board told its margin to where the driver begins to lower clocks; else it is where the hardware slows down."""

    @property
    def in_words(self) -> str:
        """Both are called a limit, and lie some degrees apart: this says which one."""
        told = "clocks fall from" if self.by_margin else "slows at"
        return f"{self.temperature_c:.0f} °C, {told} {self.limit_c:.0f}"

    @property
    def left_c(self) -> float:
        return self.limit_c - self.temperature_c


def headroom(view: GpuView) -> Headroom | None:
    """By the board's own margin, else by its slowdown temperature; `None` where it tells neither."""
    gpu = view.gpu
    if gpu.temperature_c is None:
        return None
    if gpu.temperature_margin_c is not None:
        return Headroom(
            temperature_c=gpu.temperature_c, limit_c=gpu.temperature_c + gpu.temperature_margin_c, by_margin=True
        )
    if gpu.temperature_slowdown_c is not None:
        return Headroom(temperature_c=gpu.temperature_c, limit_c=gpu.temperature_slowdown_c)
    return None


def left_to_shutdown_c(view: GpuView) -> float | None:
    """Degrees until the board switches itself off."""
    gpu = view.gpu
    if gpu.temperature_c is None or gpu.temperature_shutdown_c is None:
        return None
    return gpu.temperature_shutdown_c - gpu.temperature_c


def median(values: Sequence[float]) -> float | None:
    """The middle value, the mean of the middle two where there are two."""
    if not values:
        return None
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def siblings_temperature_c(window: Window, view: GpuView) -> float | None:
    """What the other GPUs of the same model read, in the middle."""
    return median([degrees for one in window.siblings(view) if (degrees := one.gpu.temperature_c) is not None])


class HeatSource(Struct, frozen=True, kw_only=True, gc=False):
    """Where the heat comes from, as far as readings tell, and what to do about it."""

    cause: str
    action: str


ROOM_ACTION = (
    "Check the room's cooling, the inlet temperature and the chassis fans (`ipmitool sdr type Fan`, "
    "`ipmitool sdr type Temperature`); lower the power limits until the air is cold again."
)


def own_heat(view: GpuView) -> HeatSource | None:
    """What its own readings say of the source: its fans, or a part that is not the core; `None` where it may be the air."""
    stopped = stopped_fans(view)
    if stopped:
        return HeatSource(
            cause=f"{'A fan' if len(stopped) == 1 else f'{len(stopped)} fans'} of the board "
            f"{'stands' if len(stopped) == 1 else 'stand'} still.",
            action="Stop the load, look whether something blocks the fan, and replace the fan or the board.",
        )
    known = headroom(view)
    if known is not None and known.left_c > FAR_FROM_LIMIT_C:
        return _not_the_core(view, known)
    return None


def heat_source(window: Window, view: GpuView) -> HeatSource:
    """Its own fans, its memory, its slot, or the room: judged by what its siblings read."""
    return own_heat(view) or _slot_or_room(window, view)


def stopped_fans(view: GpuView) -> list[int]:
    """Fans that read 0 %, by their number."""
    return [number for number, speed in enumerate(view.gpu.fans_pct or ()) if speed == 0]


def _not_the_core(view: GpuView, known: Headroom) -> HeatSource:
    memory_c = view.gpu.memory_temperature_c
    hot_part = (
        "the memory or the voltage regulators, whose temperature this board does not tell"
        if memory_c is None
        else f"the memory, at {memory_c:.0f} °C, is the likely part"
    )
    return HeatSource(
        cause=f"Not the core, at {known.temperature_c:.0f} of {known.limit_c:.0f} °C: {hot_part}.",
        action="Check the thermal pads and the airflow over the back of the board; lower the memory clock or the power "
        "limit until then.",
    )


def _slot_or_room(window: Window, view: GpuView) -> HeatSource:
    siblings = window.siblings(view)
    hot = [one for one in siblings if (known := headroom(one)) is not None and known.left_c <= NEAR_LIMIT_C]
    if len(siblings) > 1 and len(hot) * 2 >= len(siblings):
        how_many = f"All {len(hot)}" if len(hot) == len(siblings) else f"{len(hot)} of the {len(siblings)}"
        return HeatSource(
            cause=f"{how_many} other GPUs are near their limits too: the air comes in too warm, or too little of it.",
            action=ROOM_ACTION,
        )
    fan_pct = view.gpu.fan_pct
    if fan_pct is not None and fan_pct >= _FLAT_OUT_PCT:
        return HeatSource(
            cause=f"Its fans are told to turn at {fan_pct:.0f} % and it is this hot all the same: a fan that does not turn, "
            "dust, or warm air from the board beside it.",
            action="Look whether the fans really turn (the driver reports what it asks for, not what they do), clean the "
            "heat sink, and leave a slot free between boards; lower the power limit meanwhile.",
        )
    theirs = siblings_temperature_c(window, view)
    own = view.gpu.temperature_c
    if theirs is not None and own is not None and own - theirs >= _ODD_ONE_OUT_C and _work_alike(siblings, view):
        return HeatSource(
            cause=f"It alone is hot, the other {len(siblings)} are at {theirs:.0f} °C: its own airflow or heat sink."
            if len(siblings) > 1
            else f"It alone is hot, GPU {siblings[0].index} is at {theirs:.0f} °C: its own airflow or heat sink.",
            action="Check what blocks the air at this slot (cable, missing blanking plate, dust, a dead chassis fan "
            "beside it), then the board's heat sink and its mounting; move the job meanwhile.",
        )
    return HeatSource(
        cause="It is at its own temperature limit.",
        action="Check airflow, dust, fans and the temperature of the air that comes in; lower the power limit meanwhile.",
    )


def _work_alike(siblings: Sequence[GpuView], view: GpuView) -> bool:
    """Whether the siblings work about as hard: idle ones are cool for that reason alone."""
    own = view.gpu.power_w
    theirs = median([watts for one in siblings if (watts := one.gpu.power_w) is not None])
    return own is not None and theirs is not None and theirs >= _SIMILAR_WORK * own
