"""Where messages can go, and how that can fail."""

from typing import Protocol

from gpuwatch_agent.notify.message import Message

# Time-out, too early, too many, and a server or proxy with troubles of its own; every other 4xx is a refusal for good.
_PASSES = frozenset({408, 425, 429, 500, 502, 503, 504})


def may_pass(status: int) -> bool:
    """Whether an HTTP status is one that another try may not meet."""
    return status in _PASSES


class DeliveryError(Exception):
    """A message did not arrive, with the reason in words that hold no secret."""

    def __init__(self, reason: str, *, again: bool, not_before_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        """Whether another try can help."""
        self.not_before_s = not_before_s
        """For how long the receiver wants to be left alone."""


class Target(Protocol):
    """One receiver; `send` may block, on a thread of its own."""

    name: str
    """How it is shown: without anything that would let others write to it."""

    def send(self, message: Message) -> None:
        """Deliver once, or raise `DeliveryError`."""
