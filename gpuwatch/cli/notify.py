"""Who is told of findings; --test sends each of them a message: exit 0 all, 1 some, 2 none was reached, 3 none is set."""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from gpuwatch.cli.status import write_json
from gpuwatch.cli.terminal import look
from gpuwatch.source import command_config
from gpuwatch_agent.config import NotifySection
from gpuwatch_agent.hardware.host import node_name
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.message import Message, trial_message
from gpuwatch_agent.notify.target import DeliveryError, Target


class Tried(Struct, frozen=True, kw_only=True):
    """What came of a test; `problem` is null where the target took it."""

    target: str
    seconds: float
    problem: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `notify`."""
    parser.add_argument("--test", action="store_true", help="send a test message to every target, once")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    """List the targets, or try them."""
    if options.connect:
        raise UsageError(
            "Messages are sent by the agent of each node.", "Run this on the node, under its configuration."
        )
    from gpuwatch_agent.notify.notifier import make_targets

    config = command_config(options)
    targets = make_targets(config.notify)
    if not targets:
        raise UsageError(
            "No target is configured.", "Set notify.webhook or notify.urls (docs/notifications.md shows both)."
        )
    if not options.test:
        return _list(targets, config.notify, as_json=options.json)
    node = node_name()
    message = trial_message(
        message_id=f"test-{time.time():.0f}", node=node, simulated=bool(config.hardware.simulate), at=time.time()
    )
    return _report(_try_all(targets, message), as_json=options.json)


def _list(targets: Sequence[Target], settings: NotifySection, *, as_json: bool) -> int:
    if as_json:
        write_json({"targets": [target.name for target in targets]}, indent=look().interactive)
        return 0
    repeated = f"told again every {settings.repeat_every_s:g} s" if settings.repeat_every_s else "told once"
    quiet = f", never {', '.join(settings.quiet_kinds)}" if settings.quiet_kinds else ""
    when = (
        f"told is what is {settings.min_severity} or worse{quiet}; {settings.group_s:g} s to a message, "
        f"{settings.most_per_hour} messages an hour at most, {repeated}"
    )
    lines = [*(target.name for target in targets), when, "`gpuwatch notify --test` sends each a message"]
    _write("".join(f"{line}\n" for line in lines))
    return 0


def _try_all(targets: Sequence[Target], message: Message) -> list[Tried]:
    """All at once: one that is silent until its time-out holds up none of the others."""
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        return list(pool.map(lambda target: _try(target, message), targets))


def _try(target: Target, message: Message) -> Tried:
    began = time.monotonic()
    problem: str | None = None
    try:
        target.send(message)
    except DeliveryError as error:
        problem = error.reason
    return Tried(target=target.name, seconds=round(time.monotonic() - began, 3), problem=problem)


def _report(tried: Sequence[Tried], *, as_json: bool) -> int:
    failed = sum(one.problem is not None for one in tried)
    code = 0 if not failed else 2 if failed == len(tried) else 1
    if as_json:
        write_json({"exit": code, "targets": tried}, indent=look().interactive)
        return code
    for one in tried:
        said = f"failed: {one.problem}" if one.problem is not None else "sent"
        _write(f"{one.target}: {said} ({one.seconds:.1f} s)\n")
    return code


def _write(text: str) -> None:
    from gpuwatch.render.text import to_ascii

    sys.stdout.write(text if look().unicode else to_ascii(text))
