"""Which keys there are, which of them the user bound anew, and whether that makes sense."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from textual.app import App
from textual.binding import Binding
from textual.keys import KEY_ALIASES, Keys

from gpuwatch_agent.model.errors import UsageError

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super"})
EVERYWHERE = "everywhere"


class Bound(NamedTuple):
    """One binding that can be bound anew."""

    id: str
    keys: str
    words: str
    where: str
    """The view it belongs to, or everywhere."""


@lru_cache(maxsize=1)
def all_bindings() -> Sequence[Bound]:
    """Those that work everywhere, then view by view."""
    from gpuwatch.tui.app import GpuwatchApp
    from gpuwatch.tui.views.registry import VIEWS

    found = list(_declared(GpuwatchApp, EVERYWHERE))
    for view in VIEWS:
        found += _declared(view, view.title)
    return tuple(found)


def _declared(owner: type, where: str) -> Iterator[Bound]:
    for kind in owner.__mro__:
        if not kind.__module__.startswith("gpuwatch"):
            continue
        for binding in vars(kind).get("BINDINGS", []):
            if isinstance(binding, Binding) and binding.id is not None:
                yield Bound(binding.id, binding.key, binding.description, where)


def checked_keys(wanted: Mapping[str, str]) -> dict[str, str]:
    """The user's keys as Textual takes them; all that is wrong with them in one error."""
    if not wanted:
        return {}
    problems = [*_unknown(wanted), *_clashes(wanted)]
    if problems:
        raise UsageError(
            "The keys in [keys] can't be used, so nothing was started: " + " ".join(problems),
            "docs/dashboard.md lists ids and keys.",
        )
    return {binding: ",".join(_normal(key) for key in _split(keys)) for binding, keys in wanted.items()}


def _unknown(wanted: Mapping[str, str]) -> Iterator[str]:
    ids = {bound.id for bound in all_bindings()}
    for binding, keys in wanted.items():
        if binding not in ids:
            near = difflib.get_close_matches(binding, ids, n=1, cutoff=0.5)
            yield f"there is no {binding!r}{f' (perhaps {near[0]!r})' if near else ''}."
        for key in _split(keys):
            if not is_key(key):
                yield f"{key!r} for {binding!r} is no key."


def _clashes(wanted: Mapping[str, str]) -> Iterator[str]:
    """Two ids on one key where both work at once; what was so before the user came is ours."""
    told: set[tuple[str, str]] = set()
    for one in all_bindings():
        for other in all_bindings():
            here = one.where == other.where or EVERYWHERE in {one.where, other.where}
            if one.id >= other.id or not here or not {one.id, other.id}.intersection(wanted):
                continue
            shared = _keys_of(one, wanted) & _keys_of(other, wanted)
            if shared and (one.id, other.id) not in told:
                told.add((one.id, other.id))
                yield f"{one.id!r} and {other.id!r} are both on {min(shared)!r}."


def _keys_of(bound: Bound, wanted: Mapping[str, str]) -> set[str]:
    return {_normal(key) for key in _split(wanted.get(bound.id, bound.keys))}


def _split(keys: str) -> list[str]:
    """`,` itself can be a key."""
    return [keys] if keys == "," else [key.strip() for key in keys.split(",") if key.strip()]


def _normal(key: str) -> str:
    if len(key) != 1 or key.isalnum():
        return key
    return next(iter(App._normalize_keymap({"": key}).values()))  # noqa: SLF001  # Textual's own way of naming keys


def is_key(key: str) -> bool:
    """Whether a terminal can send that."""
    *modifiers, name = key.split("+") if key != "+" else [key]
    if not _MODIFIERS.issuperset(modifiers):
        return False
    known = {one.value for one in Keys} | set(KEY_ALIASES)
    if key in known or name in known:
        return True
    return (len(name) == 1 and name.isprintable() and not name.isspace()) or name in _NAMED


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(_normal(chr(code)) for code in range(33, 127))


_NAMED = _names()


def keys_as_table() -> str:
    """The table of docs/dashboard.md."""
    from gpuwatch.tui.dialogs.help import key_words

    lines = ["| where | keys | what they do | id |", "|---|---|---|---|"]
    told: set[tuple[str, str]] = set()
    for bound in all_bindings():
        # Lists of several views share their keys.
        where = "lists" if bound.id.startswith("rows.") else bound.where
        if (where, bound.id) not in told:
            told.add((where, bound.id))
            keys = " ".join(f"`{key_words(key)}`" for key in bound.keys.split(","))
            lines.append(f"| {where} | {keys} | {bound.words} | `{bound.id}` |")
    return "\n".join(lines) + "\n"
