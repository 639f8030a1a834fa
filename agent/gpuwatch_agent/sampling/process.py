"""The sampler: the one process that touches the driver. Its parent starts it, listens to it and replaces it.

Its standard input is its lifeline: when that closes, the parent wants it gone, or is gone itself.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import msgspec

from gpuwatch_agent.collectors.registry import COLLECTOR_NAMES
from gpuwatch_agent.hardware.base import Hardware, XidEvent
from gpuwatch_agent.hardware.choose import make_hardware
from gpuwatch_agent.model.errors import DriverUnavailableError, GpuwatchError
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.sampling.breadcrumbs import Breadcrumbs
from gpuwatch_agent.sampling.rig import Rig
from gpuwatch_agent.sampling.wire import Message, Orders, Placed, Refused, Sampled, XidSeen, XidWatched, make_sender
from gpuwatch_agent.sampling.worker import Worker

_PLACEMENT_EVERY_S = 60.0
# Registering for events takes moments; a driver that takes longer is asked no more before the first sample.
_WATCH_DEADLINE_S = 2.0
EXIT_REFUSED = 3


class _AskedToLeaveError(Exception):
    """SIGTERM: killed in the middle of profiling, boards have frozen, so it is no sudden end."""


def main(breadcrumbs_fd: int) -> int:
    """Run until the lifeline closes; gives the exit status."""
    # A library that prints must not break the stream of messages.
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = msgspec.json.decode(_first_line(), type=Orders)
    breadcrumbs = Breadcrumbs(breadcrumbs_fd, COLLECTOR_NAMES)
    send = _serialised(make_sender(stream))
    rig: Rig | None = None
    try:
        signal.signal(signal.SIGTERM, _leave)
        hardware = make_hardware(orders.config)
        rig = Rig(hardware, orders.config, breadcrumbs=breadcrumbs, quarantine=orders.quarantine)
        _sample(rig, hardware, orders, send)
    except GpuwatchError as error:
        send(Refused(Trouble(kind=error.kind, message=error.message, action=error.action)))
        return EXIT_REFUSED
    except (BrokenPipeError, _AskedToLeaveError):
        pass  # the parent is gone, or somebody wants this process gone
    if rig is not None:
        rig.close()
    return 0


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # what `signal` calls it with
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _AskedToLeaveError


def _first_line() -> bytes:
    """Unbuffered: what comes after it is for `select` to see."""
    line = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) not in {b"", b"\n"}:
        line += byte
    return bytes(line)


def _serialised(send: Callable[[Message], None]) -> Callable[[Message], None]:
    """Xids come from a thread of their own; two messages must not mix."""
    lock = threading.Lock()

    def send_one(message: Message) -> None:
        with lock:
            send(message)

    return send_one


def _sample(rig: Rig, hardware: Hardware, orders: Orders, send: Callable[[Message], None]) -> None:
    rig.open()
    watch = _watch_xids(hardware, orders, send)
    interval = orders.config.sampling.interval_s
    placed_at, placed_roster = -_PLACEMENT_EVERY_S, -1
    tick = time.monotonic()
    frame = _first_frame(rig)
    while True:
        send(Sampled(frame, rig.stuck_for()))
        _tell_late(watch, send)
        now = time.monotonic()
        if now - placed_at >= _PLACEMENT_EVERY_S or placed_roster != rig.roster_changes:
            placed_at, placed_roster = now, rig.roster_changes
            send(Placed(rig.placements()))
        # Ticks keep their beat; those that were missed are not made up for.
        tick = max(tick + interval, now)
        if _lifeline_closed(max(0.0, tick - time.monotonic())):
            return
        frame = rig.read()


def _first_frame(rig: Rig) -> Frame:
    """A silent GPU is waited for at first: what the others said before is old by then, so they are read again."""
    frame = rig.read()
    return rig.read() if rig.stuck_for() > 0 else frame


def _watch_xids(hardware: Hardware, orders: Orders, send: Callable[[Message], None]) -> Worker[str] | None:
    """Watch for Xids, begun on a thread of its own: a driver that hangs in it must not keep the samples away."""
    if not orders.config.hardware.events:
        send(XidWatched("watching for Xids is switched off (hardware.events in the configuration)"))
        return None

    def report(event: XidEvent) -> None:
        try:
            send(XidSeen(event))
        except BrokenPipeError:
            return  # the parent is gone, and we shall be soon

    worker: Worker[str] = Worker("watch-xids", time.monotonic)
    worker.start(lambda: hardware.watch_xids(report) or "")
    problem = worker.answer(_WATCH_DEADLINE_S)
    send(XidWatched("the driver has not answered yet" if problem is None else problem or None))
    return worker


def _tell_late(watch: Worker[str] | None, send: Callable[[Message], None]) -> None:
    if watch is not None and watch.busy_since is not None:
        problem = watch.answer(0)
        if problem is not None:
            send(XidWatched(problem or None))


def _lifeline_closed(wait_s: float) -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    status = EXIT_REFUSED
    try:
        status = main(int(sys.argv[1]))
    except DriverUnavailableError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        sys.stderr.flush()
        # A thread that hangs in the driver would hold up an orderly end.
        os._exit(status)
