"""`/v1/history`: the last hour, by metric and GPU."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from typing import Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Scope, Send

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
    given = _single_values(query)
    seconds, since = _number(given, "seconds"), _number(given, "since")
    if seconds is not None and seconds <= 0:
        raise UsageError("`seconds` must be above 0.", "As in seconds=300.")
    return HistoryQuestion(
        metrics=_names(given, "metrics"),
        gpus=_names(given, "gpus"),
        seconds=DEFAULT_SECONDS if seconds is None and since is None else seconds,
        since=since,
        step_s=_number(given, "step"),
        method=_method(given.get("method", "mean")),
    )


def _single_values(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=32)
    except ValueError as error:
        raise UsageError("The query has too many parts.", f"Allowed are: {', '.join(PARAMETERS)}.") from error
    strangers = [name for name, _ in pairs if name not in PARAMETERS]
    if strangers:
        raise UsageError(f"The history knows no parameter {strangers[0]!r}.", f"Allowed are: {', '.join(PARAMETERS)}.")
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            if name not in {"metrics", "gpus"}:
                raise UsageError(f"`{name}` is given twice.", "Give it once.")
            value = f"{given[name]},{value}"  # noqa: PLW2901 - lists may be written as one or as several
        given[name] = value
    return given


def _names(given: dict[str, str], parameter: str) -> list[str] | None:
    if parameter not in given:
        return None
    return [name.strip() for name in given[parameter].split(",")]


def _number(given: dict[str, str], parameter: str) -> float | None:
    if parameter not in given:
        return None
    try:
        value = float(given[parameter])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UsageError(f"`{parameter}` is {given[parameter]!r}, which is no number.", f"As in {parameter}=60.")
    return value


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
