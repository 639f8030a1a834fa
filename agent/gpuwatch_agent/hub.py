"""Where frames are published: one producer, many readers, and nobody waits for a slow one."""

import asyncio
from collections.abc import Callable
from gzip import compress
from secrets import token_hex
from time import monotonic

import msgspec

from gpuwatch_agent.model.frame import Frame

_encoder = msgspec.json.Encoder()


class Published:
    """One frame with its bytes, each form made on first use and then shared by all readers."""

    __slots__ = ("_event", "_gzipped", "_json", "at_monotonic", "frame", "sequence")

    def __init__(self, frame: Frame, sequence: int, at_monotonic: float) -> None:
        self.frame = frame
        self.sequence = sequence
        self.at_monotonic = at_monotonic
        self._json: bytes | None = None
        self._gzipped: bytes | None = None
        self._event: bytes | None = None

    @property
    def json(self) -> bytes:
        """The frame as one line of JSON."""
        if self._json is None:
            self._json = _encoder.encode(self.frame)
        return self._json

    @property
    def gzipped(self) -> bytes:
        """The same, compressed quickly rather than tightly."""
        if self._gzipped is None:
            self._gzipped = compress(self.json, compresslevel=1, mtime=0)
        return self._gzipped

    @property
    def event(self) -> bytes:
        """The frame as a server-sent event; JSON of ours has no line breaks."""
        if self._event is None:
            self._event = b"id: %d\ndata: %b\n\n" % (self.sequence, self.json)
        return self._event


class FrameHub:
    """The newest frame and who waits for the next. For one event loop: `publish` is called on it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.newest: Published | None = None
        self.epoch = token_hex(4)
        """Tells this run's sequence numbers from those of another."""
        self.closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def latest(self) -> Frame | None:
        """The newest frame."""
        return self.newest.frame if self.newest is not None else None

    def publish(self, frame: Frame) -> Published:
        """Make `frame` the newest and wake who waits; returns at once, however many readers there are."""
        sequence = self.newest.sequence + 1 if self.newest is not None else 1
        published = self.newest = Published(frame, sequence, self.clock())
        self._wake()
        return published

    async def wait_newer(self, sequence: int = 0) -> Published | None:
        """Give the newest frame once it is not number `sequence`: frames in between are missed. `None` after close."""
        while not self.closed:
            if self.newest is not None and self.newest.sequence != sequence:
                return self.newest
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)
        return None

    def close(self) -> None:
        """End all waiting: readers get `None` and go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
