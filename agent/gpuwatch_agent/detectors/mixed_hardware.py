"""Boards that should be alike and are not: tensor parallelism runs at the slowest one's pace."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.groups import Group
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.detectors.words import gpu_list, joined, shortened
from gpuwatch_agent.model.gpu import Gpu


class MixedHardwareSettings(DetectorSettings, frozen=True, kw_only=True):
    """Boards of unlike model, VBIOS, power limit or clocks in one group; of one model on a node, unlike limits or VBIOS."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 30.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 60.0
    power_limit_pct: Annotated[
        float, Meta(description="Power limits further apart than this, in percent, count as unlike.", ge=0, le=100)
    ] = 3.0
    clock_pct: Annotated[
        float, Meta(description="Highest SM clocks further apart than this, in percent, count as unlike.", ge=0, le=100)
    ] = 3.0


class _Unlike(Struct, frozen=True):
    """One way in which boards differ, and which of them are in the minority."""

    what: str
    odd: list[int]
    sentence: str
    values: str


class MixedHardwareDetector:
    """One finding for a group, one for the boards of a model that no group has told of."""

    kind: ClassVar[str] = "mixed_hardware"
    settings: ClassVar[type[DetectorSettings]] = MixedHardwareSettings

    def detect(self, window: Window, settings: MixedHardwareSettings, raised: frozenset[str]) -> list[Suspicion]:
        views = [view for view in window.gpus if view.answers]
        if len({_fingerprint(view.gpu) for view in views}) < 2:
            return []
        found: list[Suspicion] = []
        for group in window.groups:
            members = [view for view in window.members(group) if view.answers]
            unlike = _in_group(members, settings, lenient=group.id in raised)
            if unlike:
                found.append(_of_group(group, members, unlike))
        for model, boards in _by(views, lambda gpu: gpu.name).items():
            key = f"node/{model}"
            if any({view.uuid for view in boards} <= set(group.uuids) for group in window.groups):
                continue
            unlike = _limits(boards, settings, lenient=key in raised) + _vbios(boards)
            if unlike:
                found.append(_of_node(key, model, boards, unlike))
        return found


def _fingerprint(gpu: Gpu) -> tuple[object, ...]:
    return gpu.name, gpu.vbios_version, gpu.power_limit_w, gpu.sm_clock_max_mhz


def _in_group(members: Sequence[GpuView], settings: MixedHardwareSettings, *, lenient: bool) -> list[_Unlike]:
    unlike: list[_Unlike] = []
    models = _by(members, lambda gpu: gpu.name)
    if len(models) > 1:
        shares = [
            f"{gpu_list(view.index for view in boards)} {_is(boards)} {model}" for model, boards in models.items()
        ]
        odd = _minority(list(models.values()))
        unlike.append(_Unlike("models", odd, f"mixes models: {joined(shares)}", "; ".join(models)))
    for boards in models.values():
        unlike += _limits(boards, settings, lenient=lenient)
        unlike += _clocks(boards, settings, lenient=lenient)
        unlike += _vbios(boards)
    return unlike


def _is(boards: Sequence[GpuView]) -> str:
    return "is" if len(boards) == 1 else "are"


def _limits(boards: Sequence[GpuView], settings: MixedHardwareSettings, *, lenient: bool) -> list[_Unlike]:
    return _numbers(
        boards, "power limit", "W", lambda gpu: gpu.power_limit_w, settings.power_limit_pct, lenient=lenient
    )


def _clocks(boards: Sequence[GpuView], settings: MixedHardwareSettings, *, lenient: bool) -> list[_Unlike]:
    return _numbers(
        boards, "highest SM clock", "MHz", lambda gpu: gpu.sm_clock_max_mhz, settings.clock_pct, lenient=lenient
    )


def _numbers(
    boards: Sequence[GpuView],
    what: str,
    unit: str,
    read: Callable[[Gpu], float | None],
    apart_pct: float,
    *,
    lenient: bool,
) -> list[_Unlike]:
    """The boards with the lower figure are the odd ones where neither is in the majority; nothing if they are near."""
    known = sorted(((value, view) for view in boards if (value := read(view.gpu))), key=lambda pair: pair[0])
    limit = 1 + apart_pct / 100 * (0.5 if lenient else 1.0)
    kinds: list[list[tuple[float, GpuView]]] = []
    for value, view in known:
        if kinds and value <= kinds[-1][0][0] * limit:
            kinds[-1].append((value, view))
        else:
            kinds.append([(value, view)])
    if len(kinds) < 2:
        return []
    usual = max(reversed(kinds), key=len)
    odd = [pair for kind in kinds if kind is not usual for pair in kind]
    figures = joined([f"{value:,.0f}" for value in sorted({value for value, _ in odd})])
    said = f"{gpu_list(view.index for _, view in odd)} {_has(odd)} a {what} of {figures} {unit}"
    others = f"{'its sibling' if len(usual) == 1 else f'the {len(usual)} others'} {usual[-1][0]:,.0f} {unit}"
    every = ", ".join(
        f"{view.label} {value:,.0f} {unit}" for value, view in sorted(known, key=lambda pair: pair[1].index)
    )
    return [_Unlike(what, [view.index for _, view in odd], f"{said}, {others}", every)]


def _has(boards: Sequence[object]) -> str:
    return "has" if len(boards) == 1 else "have"


def _vbios(boards: Sequence[GpuView]) -> list[_Unlike]:
    versions = _by(boards, lambda gpu: gpu.vbios_version)
    if len(versions) < 2:
        return []
    shares = [f"{version} on {gpu_list(view.index for view in those)}" for version, those in versions.items()]
    return [_Unlike("VBIOS", _minority(list(versions.values())), f"unlike VBIOS: {joined(shares)}", "; ".join(shares))]


def _by(views: Iterable[GpuView], read: Callable[[Gpu], str | None]) -> dict[str, list[GpuView]]:
    """Boards by what is known of them; those of which it is not known are left out."""
    found: dict[str, list[GpuView]] = {}
    for view in views:
        value = read(view.gpu)
        if value is not None:
            found.setdefault(value, []).append(view)
    return found


def _minority(kinds: Sequence[Sequence[GpuView]]) -> list[int]:
    """The boards that differ from most; all of them where no kind is in the majority."""
    sizes = sorted((len(kind) for kind in kinds), reverse=True)
    usual = sizes[0] if sizes[0] > sizes[1] else None
    return sorted(view.index for kind in kinds if len(kind) != usual for view in kind)


def _costs(members: Sequence[GpuView]) -> bool:
    """Whether the boards' own figures say that they are not equally fast: a name alone may differ by memory only."""
    figures: tuple[Callable[[Gpu], float | None], ...] = (
        lambda gpu: gpu.sm_clock_max_mhz,
        lambda gpu: gpu.memory_clock_max_mhz,
        lambda gpu: gpu.power_limit_default_w,
    )
    if len({view.gpu.architecture for view in members if view.gpu.architecture}) > 1:
        return True
    for read in figures:
        known = [value for view in members if (value := read(view.gpu))]
        if known and max(known) > 1.03 * min(known):
            return True
    return False


def _of_group(group: Group, members: Sequence[GpuView], unlike: Sequence[_Unlike]) -> Suspicion:
    slower = group.lockstep and unlike[0].what == "models" and _costs(members)
    pace = "; it can go no faster than its slowest board" if group.lockstep and unlike[0].what != "VBIOS" else ""
    return Suspicion(
        key=group.id,
        severity="warning" if slower else "info",
        gpus=sorted({index for one in unlike for index in one.odd}),
        summary=f"Group {shortened(group.id)}: {'; '.join(one.sentence for one in unlike[:2])}{pace}.",
        cause=joined([f"unlike {one.what}" if one.what != "models" else "unlike models" for one in unlike]),
        evidence={one.what: one.values for one in unlike},
        action=_action(unlike),
    )


def _of_node(key: str, model: str, boards: Sequence[GpuView], unlike: Sequence[_Unlike]) -> Suspicion:
    return Suspicion(
        key=key,
        severity="info",
        gpus=sorted({index for one in unlike for index in one.odd}),
        summary=f"The {len(boards)} {model} here are not alike: {'; '.join(one.sentence for one in unlike[:2])}.",
        cause=joined([f"unlike {one.what}" for one in unlike]),
        evidence={one.what: one.values for one in unlike},
        action=_action(unlike),
    )


def _action(unlike: Sequence[_Unlike]) -> str:
    kinds = {one.what for one in unlike}
    if "models" in kinds:
        return "Give the job boards of one model, or a split that lets each go at its own pace (layers, replicas)."
    if "power limit" in kinds:
        return "If nobody meant it: `sudo nvidia-smi -i N -pl WATTS` sets the limit; look for what sets it at boot."
    if "highest SM clock" in kinds:
        return "Look for locked clocks (`nvidia-smi -q -d CLOCK`); `nvidia-smi -rgc` takes a lock away."
    return "Nothing is broken; bring the boards to one VBIOS with the vendor's tool at the next maintenance."
