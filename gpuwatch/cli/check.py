"""Watches this node for some seconds and judges: exit 0 well, 1 warning, 2 critical, 3 could not look."""

import argparse
import sys
import time
from collections.abc import Callable

from gpuwatch.checking import Eyes, LocalEyes, NotJudged, RemoteEyes, Seen, looks_for, watch
from gpuwatch.cli.status import write_json
from gpuwatch.cli.terminal import look
from gpuwatch.source import command_config, open_source
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.model.errors import GpuwatchError, UsageError
from gpuwatch_agent.model.frame import Trouble

_MOST_S = 86400.0
_COULD_NOT_LOOK = GpuwatchError.exit_code
_CODES = {"info": 0, "warning": 1, "critical": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `check`."""
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        default=15.0,
        metavar="SECONDS",
        help="how long to watch (15); 0 says what can be seen at once, and with --connect only asks the agent",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--kinds", type=_kinds, metavar="LIST", help="only these kinds of findings, as xid,gpu_lost")
    parser.add_argument("--ignore", type=_kinds, default=frozenset(), metavar="LIST", help="all kinds but these")
    parser.add_argument(
        "--fail-on", choices=("warning", "critical"), default="warning", help="what ends with 1 or 2 (warning)"
    )


def run(options: argparse.Namespace) -> int:
    """Watch, print what was found, and give the verdict as exit code."""
    every = frozenset(detector.kind for detector in DETECTORS)
    kinds = (every if options.kinds is None else options.kinds) - options.ignore
    if not kinds:
        raise UsageError("--kinds and --ignore leave no kind to look for.", f"There are: {', '.join(sorted(every))}.")
    seen = Seen(kinds)
    try:
        unjudged = _look_around(options, kinds, seen)
    except UsageError:
        raise
    except GpuwatchError as error:
        # An agent that went in the middle of the watch does not take back what it has said.
        if not seen.findings:
            _report(options, seen, [], _COULD_NOT_LOOK, _trouble(error))
            raise
        unjudged = [NotJudged(kind="", reason=str(error))]
    return _verdict(options, seen, unjudged)


def _look_around(options: argparse.Namespace, kinds: frozenset[str], seen: Seen) -> list[NotJudged]:
    """Look until the time is over, or somebody at the keyboard has seen enough."""
    eyes: LocalEyes | RemoteEyes
    if options.connect:
        eyes = RemoteEyes(open_source(options))
    else:
        eyes = LocalEyes(command_config(options), options.seconds, kinds)
    looks = looks_for(options.seconds, least=eyes.least_looks)
    try:
        _watch_visibly(eyes, looks, seen)
        return eyes.not_judged()
    finally:
        eyes.close()


def _watch_visibly(eyes: Eyes, looks: int, seen: Seen) -> None:
    """On a terminal a line tells how far it is."""
    told: Callable[[int, Seen], None] = _progress(looks) if sys.stderr.isatty() else lambda _count, _seen: None
    try:
        watch(eyes, looks, seen, told)
    except KeyboardInterrupt:
        if seen.last is None:
            raise
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _progress(looks: int) -> Callable[[int, Seen], None]:
    def tell(count: int, seen: Seen) -> None:
        gpus = len(seen.last.gpus) if seen.last is not None else 0
        found = f", {len(seen.findings)} found" if seen.findings else ""
        sys.stderr.write(f"\r\x1b[K watching {gpus} GPUs: {count} of {looks - 1} s{found} (Ctrl-C: so far) ")
        sys.stderr.flush()

    return tell


def _verdict(options: argparse.Namespace, seen: Seen, unjudged: list[NotJudged]) -> int:
    if seen.blind:
        trouble = (seen.last.trouble if seen.last is not None else None) or _NOTHING_READ
        _report(options, seen, unjudged, _COULD_NOT_LOOK, trouble)
        raise GpuwatchError(trouble.message, trouble.action)
    worst = max((_CODES[finding.severity] for finding in seen.findings), default=0)
    code = 0 if options.fail_on == "critical" and worst < _CODES["critical"] else worst
    _report(options, seen, unjudged, code, None)
    return code


def _report(
    options: argparse.Namespace, seen: Seen, unjudged: list[NotJudged], code: int, trouble: Trouble | None
) -> None:
    from gpuwatch.render.check_report import CheckReport, render_check

    terminal = look()
    frame = seen.last
    report = CheckReport(
        node=frame.node if frame is not None else None,
        simulated=frame.simulated if frame is not None else False,
        taken_at=frame.taken_at if frame is not None else time.time(),
        watched_s=seen.watched_s,
        exit=code,
        gpus=[gpu.name for gpu in frame.gpus] if frame is not None else [],
        findings=seen.findings,
        not_judged=unjudged,
        trouble=trouble,
    )
    if options.json:
        write_json(report, indent=terminal.interactive)
    elif trouble is None or not terminal.interactive:
        # On a terminal the sentence on stderr is enough; a plugin's caller reads stdout alone.
        sys.stdout.write(
            render_check(
                report,
                width=terminal.width,
                colour=terminal.colour,
                unicode=terminal.unicode,
                for_machines=not terminal.interactive,
            )
        )


def _trouble(error: GpuwatchError) -> Trouble:
    return Trouble(kind=error.kind, message=error.message, action=error.action)


_NOTHING_READ = Trouble(
    kind="no_gpu_readable",
    message="No GPU could be read.",
    action="`gpuwatch status` shows each GPU with what keeps it from being read.",
)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {_MOST_S:g}")
    return seconds


def _kinds(text: str) -> frozenset[str]:
    import difflib

    known = [detector.kind for detector in DETECTORS]
    named = [kind.strip() for kind in text.split(",") if kind.strip()]
    for kind in named:
        if kind not in known:
            near = difflib.get_close_matches(kind, known, n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}? " if near else ""
            raise argparse.ArgumentTypeError(f"there is no kind {kind!r}: {guess}there are {', '.join(known)}")
    return frozenset(named)
