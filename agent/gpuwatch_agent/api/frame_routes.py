"""What stands in the newest frame: `/v1/snapshot`, from bytes that all readers share."""

from collections.abc import Callable

from starlette.types import Scope, Send

from gpuwatch_agent.api.replies import WORTH_COMPRESSING, Plain, ProblemError, Tagged, wants_gzip, zipped
from gpuwatch_agent.hub import FrameHub, Published


def no_frame_yet() -> ProblemError:
    """The problem in the first moments of an agent."""
    return ProblemError(
        503, "no-frame-yet", "The agent has not read the GPUs yet.", "Ask again in a second.", [(b"retry-after", b"1")]
    )


class FrameRoute(Plain):
    """One view of the newest frame, encoded and compressed once a frame."""

    def __init__(
        self, hub: FrameHub, body: Callable[[Published], bytes], gzipped: Callable[[Published], bytes] | None = None
    ) -> None:
        self._hub = hub
        self._body = body
        self._gzipped = gzipped if gzipped is not None else lambda published: zipped(body(published))
        self._of: Published | None = None
        self._plain: Tagged | None = None
        self._small: Tagged | None = None

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer from what the first reader of this frame made."""
        published = self._hub.newest
        if published is None:
            raise no_frame_yet()
        if published is not self._of:
            self._of, self._plain, self._small = published, None, None
        if wants_gzip(scope) and len(self._body(published)) >= WORTH_COMPRESSING:
            tagged = self._small
            if tagged is None:
                tagged = self._small = Tagged(self._gzipped(published), self._tag(published), gzipped=True)
        else:
            tagged = self._plain
            if tagged is None:
                tagged = self._plain = Tagged(self._body(published), self._tag(published))
        await tagged.send(scope, send)

    def _tag(self, published: Published) -> str:
        return f"{self._hub.epoch}-{published.sequence}"
