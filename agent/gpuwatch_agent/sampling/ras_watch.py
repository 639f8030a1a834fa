"""Asks NCCL's RAS service now and then, on a thread of its own: nothing waits for it."""

import time
from collections.abc import Callable, Sequence

from gpuwatch_agent.attribution.ras import Communicator, NobodyListensError, RasError, RasMemory, ask
from gpuwatch_agent.config import AttributionSection
from gpuwatch_agent.hardware.base import Tier
from gpuwatch_agent.sampling.meter import Meter
from gpuwatch_agent.sampling.worker import Worker

Answer = list[Communicator] | str


class RasWatch:
    """Its account is `nccl_ras` among the collectors: what it costs, and why it hears nothing."""

    def __init__(self, settings: AttributionSection, meter: Meter, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._tally = meter.tally("nccl_ras", Tier.SLOW)
        self._memory = RasMemory(clock)
        self._worker: Worker[Answer] = Worker("nccl_ras", clock)
        self._due = clock()

    def communicators(self) -> Sequence[Communicator]:
        """What was heard so far; begins to ask again when it is time to."""
        self.take(0)
        if self._worker.busy_since is None and self._clock() >= self._due:
            self._due = self._clock() + self._settings.nccl_ras_every_s
            self._worker.start(self._ask)
        return self._memory.communicators()

    def take(self, wait_s: float) -> None:
        """Take the answer if it comes within that time."""
        if self._worker.busy_since is None:
            return
        answer = self._worker.answer(wait_s)
        if isinstance(answer, str):
            self._tally.failed(answer)
        elif answer is not None:
            self._memory.hear(answer)

    def stop(self) -> None:
        """Let the thread go."""
        self._worker.stop()

    def _ask(self) -> Answer:
        began = time.perf_counter()
        try:
            return ask(self._settings.nccl_ras_address)
        except NobodyListensError:
            return []
        except RasError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  # whatever a stranger on that port brings about ends in our account, not in the sampler's end
            return f"{type(error).__name__}: {error}"
        finally:
            self._tally.ran(time.perf_counter() - began)
