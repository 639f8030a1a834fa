"""What to simulate, in one word of a command line: `dgx-h100-8+hot@5+nvlink-down@2=11~30-90`.

A machine, then any number of `+FAULT[@GPUS][=STRENGTH][~START[-END]]`. GPUS is `all` or a list such as `1,4-6` (GPU 0
unless told otherwise); START and END are seconds after opening, and without them the fault has been there all along.
None of its characters means anything to a shell in these places.
"""

import math
import re
from collections.abc import Iterable

from msgspec import Struct

from gpuwatch_agent.hardware.simulated.faults import FAULTS, NEEDS, Fault
from gpuwatch_agent.hardware.simulated.machines import MACHINES, Machine
from gpuwatch_agent.model.errors import UsageError

GRAMMAR = "MACHINE[+FAULT[@GPU,GPU-GPU,…|@all][=STRENGTH][~START_S[-END_S]]]…"
_RETURNS_AFTER_S = 20.0
_OVERLAY = re.compile(
    r"(?P<fault>[a-z0-9-]+)(?:@(?P<gpus>[0-9a-z,-]+))?(?:=(?P<strength>[0-9.]+))?"
    r"(?:~(?P<start>[0-9.]+)(?:-(?P<end>[0-9.]+))?)?"
)


class Overlay(Struct, frozen=True, kw_only=True):
    """One fault laid over the machine; a start of `None` means it has been there all along."""

    name: str
    gpus: tuple[int, ...]
    strength: float = 0.0
    start_s: float | None = None
    end_s: float | None = None

    @property
    def fault(self) -> Fault:
        return FAULTS[self.name]

    def is_active(self, since_open_s: float) -> bool:
        if self.start_s is not None and since_open_s < self.start_s:
            return False
        return self.end_s is None or since_open_s < self.end_s


class Simulation(Struct, frozen=True, kw_only=True):
    """A machine and what is wrong with it."""

    name: str
    machine: Machine
    overlays: tuple[Overlay, ...] = ()

    @property
    def takes_real_time(self) -> bool:
        """Whether a fault keeps callers waiting by the clock on the wall."""
        return any(overlay.fault.takes_real_time for overlay in self.overlays)


def parse_spec(spec: str) -> Simulation:
    """Read the word; a `UsageError` says what is wrong with it and what is allowed."""
    name, *overlays = spec.strip().split("+")
    machine = MACHINES.get(name)
    if machine is None:
        raise UsageError(
            f'There is no simulated machine "{name}".{_guess(name, MACHINES)}', f"There are: {', '.join(MACHINES)}."
        )
    return Simulation(name=name, machine=machine, overlays=tuple(_overlay(text, name, machine) for text in overlays))


def _overlay(text: str, machine_name: str, machine: Machine) -> Overlay:
    match = _OVERLAY.fullmatch(text)
    if match is None:
        raise UsageError(f'"+{text}" is not a fault as gpuwatch reads it.', f"Write {GRAMMAR}.")
    name = match["fault"]
    fault = FAULTS.get(name)
    if fault is None:
        raise UsageError(f'There is no fault "{name}".{_guess(name, FAULTS)}', f"There are: {', '.join(FAULTS)}.")
    start = None if match["start"] is None else _number(match["start"], text)
    end = None if match["end"] is None else _number(match["end"], text)
    strength = _strength(match["strength"], name, fault, machine_name, machine)
    if fault.lasts_strength:
        start = _RETURNS_AFTER_S if start is None else start
        end = start + strength if end is None else end
    if end is not None and start is not None and end <= start:
        raise UsageError(
            f'"+{text}" ends before it begins.', "Write ~START-END in seconds after opening, as in ~30-90."
        )
    gpus = _gpus(match["gpus"], name, fault, machine_name, machine)
    return Overlay(name=name, gpus=gpus, strength=strength, start_s=start, end_s=end)


def _gpus(text: str | None, name: str, fault: Fault, machine_name: str, machine: Machine) -> tuple[int, ...]:
    if fault.of_driver:
        if text is not None:
            raise UsageError(f'"{name}" concerns the whole driver, not single GPUs.', f"Write +{name} without @{text}.")
        return ()
    if machine.gpus == 0:
        raise UsageError(f'"{name}" needs a GPU, and {machine_name} has none.', "Lay it over another machine.")
    chosen = _indices(text or "0", machine_name, machine.gpus)
    makes_sense, reason = NEEDS[fault.needs] if fault.needs else (None, "")
    for gpu in chosen:
        if makes_sense is not None and not makes_sense(machine, gpu):
            raise UsageError(
                f'"{name}" makes no sense on GPU {gpu} of {machine_name}: {reason}.',
                "Choose another machine or another fault; `gpuwatch sims` lists both.",
            )
    return chosen


def _indices(text: str, machine_name: str, count: int) -> tuple[int, ...]:
    if text == "all":
        return tuple(range(count))
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if match is None:
            raise UsageError(f'"@{text}" is not a list of GPUs.', "Write indices, as in @5 or @1,4-6, or @all.")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first or last >= count:
            raise UsageError(
                f"{machine_name} has no GPU {max(first, last)}." if last >= count else f'"{part}" runs backwards.',
                f"Its GPUs are 0 to {count - 1}.",
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def _strength(text: str | None, name: str, fault: Fault, machine_name: str, machine: Machine) -> float:
    kind = fault.strength
    if kind is None:
        if text is not None:
            raise UsageError(f'"{name}" has no strength to set.', f"Write +{name} without ={text}.")
        return 0.0
    if text is None:
        return kind.on(machine)[0]
    value = _number(text, f"{name}={text}")
    _, low, high = kind.on(machine)
    choices = [choice for choice in kind.choices if choice <= high]
    if choices and value not in choices:
        allowed = ", ".join(f"{choice:g}" for choice in choices)
        raise UsageError(f'The strength of "{name}" ({kind.meaning}) can\'t be {text}.', f"It is one of {allowed}.")
    if not low <= value <= high or (kind.whole and value != int(value)):
        number = "a whole number" if kind.whole else "a number"
        raise UsageError(
            f'The strength of "{name}" ({kind.meaning}) can\'t be {text} on {machine_name}.',
            f"It is {number} from {low:g} to {high:g}.",
        )
    return value


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value > 1e9:
        raise UsageError(f'"{text}" in "+{where}" is not a number.', f"Write {GRAMMAR}.")
    return value


def _guess(name: str, names: Iterable[str]) -> str:
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""
