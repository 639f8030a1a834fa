"""`/v1/history`: the last hour, by metric and GPU."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec
from starlette.types import Scope, Send

from gpuwatch_agent.api.queries import names, number, single_values
from gpuwatch_agent.api.replies import WORTH_COMPRESSING, Plain, send_fresh, wants_gzip, zipped
from gpuwatch_agent.history import MOST_VALUES, History, Reduction, Selection
from gpuwatch_agent.model.errors import UsageError

DEFAULT_SECONDS = 300.0
PARAMETERS = {
    "metrics": "Names, separated by commas; all where left out. Metrics of the host begin with `host.`.",
    "gpus": "Indices or UUIDs, separated by commas; all where left out.",
    "seconds": f"How far back, from now; {DEFAULT_SECONDS:g} where neither this nor `since` is given.",
    "since": "Unix time from which on.",
    "step": "Seconds from one point to the next; 1 where left out.",
    "method": "What stands for a step: `mean` (counters and flags: always the last) or `last`.",
}


class HistoryQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A query string, understood."""

    metrics: list[str] | None = None
    gpus: list[str] | None = None
    seconds: float | None = None
    since: float | None = None
    step_s: float | None = None
    method: Reduction = "mean"


def parse_question(query: bytes) -> HistoryQuestion:
    """Understand a query string, or say what is wrong with it."""
    given = single_values(query, PARAMETERS, {"metrics", "gpus"}, "The history knows")
    seconds, since = number(given, "seconds"), number(given, "since")
    if seconds is not None and seconds <= 0:
        raise UsageError("`seconds` must be above 0.", "As in seconds=300.")
    return HistoryQuestion(
        metrics=names(given, "metrics"),
        gpus=names(given, "gpus"),
        seconds=DEFAULT_SECONDS if seconds is None and since is None else seconds,
        since=since,
        step_s=number(given, "step"),
        method=_method(given.get("method", "mean")),
    )


def _method(written: str) -> Literal["last", "mean"]:
    if written == "mean":
        return "mean"
    if written == "last":
        return "last"
    raise UsageError(f"There is no method {written!r}.", "Allowed are: mean, last.")


class HistoryRoute(Plain):
    """Copies on the loop, works out and encodes on one thread beside it, so that no question holds up the others."""

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        self._history = history
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._turns = asyncio.Semaphore(2)

    async def get(self, scope: Scope, send: Send) -> None:
        """Answer one question; copies exist only for the one that is worked on and the next."""
        question = parse_question(scope["query_string"])
        async with self._turns:
            selection = self._history.select(
                question.metrics,
                question.gpus,
                seconds=question.seconds,
                since=question.since,
                step_s=question.step_s,
                at_monotonic=self._clock(),
            )
            if selection.value_count > MOST_VALUES:
                raise UsageError(
                    f"That would be {selection.value_count} values; one answer holds at most {MOST_VALUES}.",
                    "Name fewer metrics or GPUs, ask for fewer seconds, or take a longer step.",
                )
            loop = asyncio.get_running_loop()
            body, packed = await loop.run_in_executor(
                self._worker, _encode, selection, question.method, wants_gzip(scope)
            )
        await send_fresh(scope, send, body, packed)

    def close(self) -> None:
        """Let the worker go."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _encode(selection: Selection, method: Reduction, pack: bool) -> tuple[bytes, bytes | None]:
    body = msgspec.json.encode(selection.answer(method))
    return body, zipped(body) if pack and len(body) >= WORTH_COMPRESSING else None
