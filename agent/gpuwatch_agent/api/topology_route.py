"""`/v1/topology`: how the GPUs are wired."""

from collections.abc import Callable
from hashlib import blake2b

import msgspec
from starlette.types import Scope, Send

from gpuwatch_agent.api.replies import WORTH_COMPRESSING, Plain, ProblemError, Tagged, wants_gzip, zipped
from gpuwatch_agent.model.topology import Topology


class TopologyRoute(Plain):
    """Encodes what the agent knows now; it is asked for seldom."""

    def __init__(self, topology: Callable[[], Topology | None]) -> None:
        self._topology = topology

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer, or say that the wiring has not been read."""
        topology = self._topology()
        if topology is None:
            raise ProblemError(
                503,
                "no-topology-yet",
                "The agent has not read the topology yet.",
                "Ask again in a second.",
                [(b"retry-after", b"1")],
            )
        body = msgspec.json.encode(topology)
        tag = blake2b(body, digest_size=12).hexdigest()
        if wants_gzip(scope) and len(body) >= WORTH_COMPRESSING:
            await Tagged(zipped(body), tag, gzipped=True).send(scope, send)
        else:
            await Tagged(body, tag).send(scope, send)
