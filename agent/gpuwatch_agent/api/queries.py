"""Query strings: only what is known, each once, and sentences for everything else."""

from collections.abc import Collection
from math import isfinite
from urllib.parse import parse_qsl

from gpuwatch_agent.model.errors import UsageError


def single_values(query: bytes, known: Collection[str], lists: Collection[str], knows: str) -> dict[str, str]:
    """The parameters by name; those in `lists` may come several times. `knows` begins a refusal: "The history knows"."""
    allowed = f"Allowed are: {', '.join(known)}."
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=32)
    except ValueError as error:
        raise UsageError("The query has too many parts.", allowed) from error
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise UsageError(f"{knows} no parameter {name!r}.", allowed)
        if name in given and name not in lists:
            raise UsageError(f"`{name}` is given twice.", "Give it once.")
        given[name] = f"{given[name]},{value}" if name in given else value
    return given


def names(given: dict[str, str], parameter: str) -> list[str] | None:
    """A list separated by commas, `None` where it was not given."""
    if parameter not in given:
        return None
    return [name.strip() for name in given[parameter].split(",")]


def number(given: dict[str, str], parameter: str) -> float | None:
    """A number that is one."""
    if parameter not in given:
        return None
    try:
        value = float(given[parameter])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UsageError(f"`{parameter}` is {given[parameter]!r}, which is no number.", f"As in {parameter}=60.")
    return value
