import re
from typing import Annotated, ClassVar

from msgspec import Meta

from gpuwatch_agent.detectors.base import DetectorSettings, Suspicion
from gpuwatch_agent.detectors.phrases import counted
from gpuwatch_agent.detectors.recovery import asks_for, severity_of
from gpuwatch_agent.detectors.tallies import HORIZON_S
from gpuwatch_agent.detectors.window import GpuView, Window
from gpuwatch_agent.detectors.xid_table import XidEntry, look_up, xid_table
from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.gpu import Xid

_CLEAN_UP = 45
_PROGRAM = re.compile(r"pid='?(\d+)'?, name=([^,]+)")


class XidSettings(DetectorSettings, frozen=True, kw_only=True):
    """An Xid, the driver's report that something went wrong on a GPU; also any recovery the driver asks for."""

    raise_after_s: Annotated[
        float, Meta(description="How long it must look wrong before it is said.", ge=0, le=86400)
    ] = 0.0
    clear_after_s: Annotated[
        float, Meta(description="How long it must look right before the finding is dropped.", ge=0, le=86400)
    ] = 5.0
    hold_s: Annotated[
        float, Meta(description="For how long an Xid is told after it was last seen.", ge=1, le=HORIZON_S)
    ] = 600.0
    application_repeats: Annotated[
        int,
        Meta(
            description="So many Xids of one application-level code within an hour on one GPU are a warning; fewer are info.",
            ge=2,
            le=100_000,
        ),
    ] = 5
    overrides_file: Annotated[
        str | None,
        Meta(
            description="A TOML file that changes or adds Xids: a table [xid.CODE] for each, with any of name, meaning, "
            "class, severity, action and source.",
            extra={"allowed": "a path"},
        ),
    ] = None

    def __post_init__(self) -> None:
        """A file that can't be read or does not fit is refused at the start, not when an Xid comes."""
        if self.overrides_file is not None:
            xid_table(self.overrides_file)


class XidDetector:
    """Counts what was seen since the agent began to watch; the table knows what each code is worth."""

    kind: ClassVar[str] = "xid"
    settings: ClassVar[type[DetectorSettings]] = XidSettings

    def detect(self, window: Window, settings: XidSettings, raised: frozenset[str]) -> list[Suspicion]:  # noqa: ARG002  # an event has no threshold
        found: list[Suspicion] = []
        for view in window.gpus:
            fresh = [xid for xid in view.gpu.xids or () if _is_fresh(view, xid, settings.hold_s)]
            for xid in fresh:
                entry = look_up(xid.code, settings.overrides_file)
                if xid.code == _CLEAN_UP and len(fresh) > 1:
                    continue  # the clean-up after another Xid, which is told
                found.append(_suspicion(window, view, xid, entry, settings))
            asked = _recovery(view)
            if asked is not None:
                found.append(asked)
        return found


def _is_fresh(view: GpuView, xid: Xid, hold_s: float) -> bool:
    ago = view.tally.grew_s_ago(f"xid.{xid.code}")
    return ago is not None and ago < hold_s


def _suspicion(window: Window, view: GpuView, xid: Xid, entry: XidEntry, settings: XidSettings) -> Suspicion:
    in_an_hour = view.tally.growth(f"xid.{xid.code}", HORIZON_S)
    severity: Severity = entry.severity
    cause, action = entry.meaning, entry.action
    repeats = entry.kind == "application" and in_an_hour >= settings.application_repeats
    if severity == "info" and repeats and not _elsewhere_too(window, view, xid.code, in_an_hour):
        severity = "warning"
        cause = f"{cause} It comes again and again on this GPU and on no other: same program, or the GPU?"
        action = (
            "Run another program on this GPU and the same program on another GPU: whom the Xid follows is to blame."
        )
    ago = view.tally.grew_s_ago(f"xid.{xid.code}") or 0.0
    often = f", {counted(in_an_hour, 'time')} within an hour" if in_an_hour > 1 else ""
    return Suspicion(
        key=f"{view.uuid}/{xid.code}",
        severity=severity,
        gpus=[view.index],
        summary=f"{view.label} reported Xid {xid.code} ({entry.name}){_program(xid)}{often}.",
        cause=cause,
        evidence={
            "xid": xid.code,
            "class": entry.kind,
            "seen": xid.count,
            "seen_within_an_hour": in_an_hour,
            "last_seen_s_ago": round(ago, 1),
            "detail": xid.detail,
            "source": entry.source,
        },
        action=action,
        certain=True,
    )


def _elsewhere_too(window: Window, view: GpuView, code: int, here: int) -> bool:
    """A program that faults takes its fault along: a code that other GPUs see about as often speaks for the board."""
    return any(one.tally.growth(f"xid.{code}", HORIZON_S) * 2 >= here for one in window.gpus if one is not view)


def _program(xid: Xid) -> str:
    found = _PROGRAM.search(xid.detail or "")
    return f" of {found[2].strip()} (PID {found[1]})" if found else ""


def _recovery(view: GpuView) -> Suspicion | None:
    """The driver's own verdict, where no other kind of finding tells it with its reason."""
    verdict = asks_for(view.gpu)
    rows, pages = view.gpu.remapped_rows, view.gpu.retired_pages
    repairing = (rows is not None and (rows.pending or rows.failed)) or (pages is not None and pages.pending)
    if not view.answers or verdict is None or repairing:
        return None
    codes = [xid.code for xid in view.gpu.xids or () if view.tally.grew_s_ago(f"xid.{xid.code}") is not None]
    return Suspicion(
        key=f"{view.uuid}/recovery",
        severity=severity_of(view.gpu),
        gpus=[view.index],
        summary=f"The driver asks for a recovery of {view.label}: {verdict.asked}.",
        cause=f"Most likely Xid {', '.join(map(str, codes))}." if codes else None,
        evidence={"recovery_action": view.gpu.recovery_action, "xids": ", ".join(map(str, codes)) or None},
        action=verdict.action,
        certain=True,
    )
