"""The frames of the last hour, one a second, small enough to keep: for going back in time."""

import zlib
from bisect import bisect_left, bisect_right
from collections import deque

import msgspec
from msgspec import structs

from gpuwatch_agent.model.frame import Frame
from gpuwatch_agent.model.gpu import Gpu

_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(Frame)
_gpus = msgspec.msgpack.Decoder(Gpu)
# A later part is packed against an early one of the same GPU, from which it differs little.
_KEY_EVERY_S = 120.0


class _Recorded:
    """One frame in parts, its GPUs apart, each packed against the same part of its key frame."""

    __slots__ = ("keys", "parts", "taken_at")

    def __init__(self, taken_at: float, parts: list[bytes], keys: list[bytes]) -> None:
        self.taken_at = taken_at
        self.parts = parts
        self.keys = keys


class Tape:
    """A ring by time; within one second the last frame wins."""

    def __init__(self, seconds: int = 3600) -> None:
        self._recorded: deque[_Recorded] = deque(maxlen=max(2, seconds))
        self._keys: list[bytes] = []
        self._keyed_at = 0.0
        self._past_keys: list[bytes] = []
        self._past_keyed_at = 0.0
        self._unpacked: tuple[_Recorded, Frame] | None = None

    def __len__(self) -> int:
        return len(self._recorded)

    def record(self, frame: Frame) -> None:
        """Keep the frame; where the clock was put back, what lies after it is dropped."""
        while self._recorded and self._recorded[-1].taken_at > frame.taken_at:
            self._recorded.pop()
        if self._recorded and int(self._recorded[-1].taken_at) == int(frame.taken_at):
            self._recorded.pop()
        raw = _raw(frame)
        stale_key = not 0 <= frame.taken_at - self._keyed_at < _KEY_EVERY_S
        if stale_key or len(raw) != len(self._keys):
            self._keys, self._keyed_at = raw, frame.taken_at
        self._recorded.append(_recorded(frame, raw, self._keys))

    def recall(self, frame: Frame) -> None:
        """Put a frame before the oldest one that is kept; what is not older than that, or has no room, is left out."""
        oldest = self.oldest_at
        if len(self._recorded) == self._recorded.maxlen or (oldest is not None and frame.taken_at >= oldest):
            return
        raw = _raw(frame)
        stale_key = not 0 <= self._past_keyed_at - frame.taken_at < _KEY_EVERY_S
        if stale_key or len(raw) != len(self._past_keys):
            self._past_keys, self._past_keyed_at = raw, frame.taken_at
        self._recorded.appendleft(_recorded(frame, raw, self._past_keys))

    @property
    def oldest_at(self) -> float | None:
        """When the first frame that is kept was taken."""
        return self._recorded[0].taken_at if self._recorded else None

    @property
    def newest_at(self) -> float | None:
        """When the last frame was taken."""
        return self._recorded[-1].taken_at if self._recorded else None

    def at(self, moment: float) -> Frame | None:
        """The newest frame not later than that; the oldest one where the tape begins later."""
        if not self._recorded:
            return None
        position = bisect_right(self._recorded, moment, key=lambda recorded: recorded.taken_at)
        return self._unpack(self._recorded[max(position - 1, 0)])

    def after(self, moment: float) -> Frame | None:
        """The oldest frame later than that: over a gap one step is one step."""
        position = bisect_left(self._recorded, moment + 0.001, key=lambda recorded: recorded.taken_at)
        return self._unpack(self._recorded[position]) if position < len(self._recorded) else None

    def _unpack(self, recorded: _Recorded) -> Frame:
        if self._unpacked is not None and self._unpacked[0] is recorded:
            return self._unpacked[1]
        raw = [_unpack(part, key) for part, key in zip(recorded.parts, recorded.keys, strict=True)]
        frame = structs.replace(_frames.decode(raw[0]), gpus=[_gpus.decode(part) for part in raw[1:]])
        self._unpacked = (recorded, frame)
        return frame

    def size_bytes(self) -> int:
        """Memory of what is kept, key frames once."""
        keys = {id(recorded.keys): sum(map(len, recorded.keys)) for recorded in self._recorded}
        return sum(sum(map(len, recorded.parts)) for recorded in self._recorded) + sum(keys.values())


def _raw(frame: Frame) -> list[bytes]:
    return [_encoder.encode(structs.replace(frame, gpus=[])), *map(_encoder.encode, frame.gpus)]


def _recorded(frame: Frame, raw: list[bytes], keys: list[bytes]) -> _Recorded:
    return _Recorded(frame.taken_at, [_pack(part, key) for part, key in zip(raw, keys, strict=True)], keys)


def _pack(part: bytes, key: bytes) -> bytes:
    packer = zlib.compressobj(level=3, wbits=-13, memLevel=6, zdict=key)
    return packer.compress(part) + packer.flush()


def _unpack(packed: bytes, key: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=-13, zdict=key)
    return unpacker.decompress(packed) + unpacker.flush()
