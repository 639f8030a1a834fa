"""What the sampler process tells its parent: length-prefixed msgpack on its standard output.

Decoding checks every type, so a frame that reaches the agent is what the model says it is.
"""

from collections.abc import Callable
from typing import BinaryIO

import msgspec
from msgspec import Struct

from gpuwatch_agent.config import Config
from gpuwatch_agent.hardware.base import Placement, XidEvent
from gpuwatch_agent.model.frame import Frame, Trouble
from gpuwatch_agent.sampling.breadcrumbs import Blame


class Orders(Struct, frozen=True):
    """What the sampler is started with, one JSON line on its standard input."""

    config: Config
    quarantine: list[Blame]


class Sampled(Struct, frozen=True, tag="sampled"):
    """One sample of the node, and for how long the most silent GPU has been silent."""

    frame: Frame
    stuck_s: float


class Placed(Struct, frozen=True, tag="placed"):
    """Where the GPUs sit, by index: sent at the start and when it changes."""

    placements: dict[int, Placement]


class XidWatched(Struct, frozen=True, tag="xid_watched"):
    """Whether Xids are being watched, or why they can't be."""

    problem: str | None


class XidSeen(Struct, frozen=True, tag="xid_seen"):
    """An Xid as it happened."""

    event: XidEvent


class Refused(Struct, frozen=True, tag="refused"):
    """The driver can't be used; the sampler ends after this."""

    trouble: Trouble


Message = Sampled | Placed | XidWatched | XidSeen | Refused

_LENGTH_BYTES = 4
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def make_sender(stream: BinaryIO) -> Callable[[Message], None]:
    """A function that writes whole messages."""

    def send(message: Message) -> None:
        body = _encoder.encode(message)
        stream.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
        stream.flush()

    return send


def decode(body: bytes) -> Message:
    """A message back from its bytes."""
    return _decoder.decode(body)


LENGTH_BYTES = _LENGTH_BYTES
