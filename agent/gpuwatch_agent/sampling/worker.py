"""Threads that touch the driver, one per device, each watched against a deadline.

A driver call may block for seconds or never return. Then only its own thread is stuck: the others are not made to wait
for it a second time, and its answer is taken when it comes after all.

Workers are handed their jobs one after the other, never all at once: NVML takes a driver-wide lock anyway, and threads
that run in turn do not fight for the interpreter's.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """One daemon thread that runs one job at a time."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: SimpleQueue[Callable[[], T] | None] = SimpleQueue()
        self._answers: SimpleQueue[T | BaseException] = SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy_since(self) -> float | None:
        """When the job began that is not yet answered."""
        return self._busy_since

    def start(self, job: Callable[[], T]) -> None:
        """Begin a job; the one before must have been answered."""
        self._busy_since = self._clock()
        self._jobs.put(job)

    def answer(self, wait_s: float) -> T | None:
        """The job's answer, or `None` if it has not come in time; raises what the job raised."""
        try:
            answer = self._answers.get(timeout=wait_s) if wait_s > 0 else self._answers.get_nowait()
        except Empty:
            return None
        self._busy_since = None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def stop(self) -> None:
        """Let the thread go when it is done; one that hangs ends with the process."""
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            try:
                self._answers.put(job())
            except BaseException as error:  # noqa: BLE001  # becomes the answer: whoever asked raises it
                self._answers.put(error)
