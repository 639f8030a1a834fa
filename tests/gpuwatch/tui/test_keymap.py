import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from gpuwatch.tui.keymap import EVERYWHERE, all_bindings, checked_keys, is_key, keys_as_table
from gpuwatch_agent.config import DashboardSection
from gpuwatch_agent.model.errors import UsageError
from support.dashboard_story import story

DOCUMENT = Path(__file__).parents[3] / "docs" / "dashboard.md"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"view.gpuu": "g"}, "there is no 'view.gpuu' (perhaps 'view.gpu')."),
        ({"pause": "ctrl+nothing"}, "'ctrl+nothing' for 'pause' is no key."),
        ({"pause": "q"}, "'pause' and 'quit' are both on 'q'."),
        ({"pause": "?"}, "'help' and 'pause' are both on 'question_mark'."),
        ({"findings.gpu": "p"}, "'findings.gpu' and 'pause' are both on 'p'."),
        ({"pause": "x", "quit": "x"}, "'pause' and 'quit' are both on 'x'."),
    ],
)
def test_what_makes_no_sense_is_told(wanted: dict[str, str], told: str) -> None:
    """Unknown ids and keys, and two ids on one key where both work."""
    with pytest.raises(UsageError) as raised:
        checked_keys(wanted)
    assert told in str(raised.value)


def test_keys_may_be_swapped_and_views_may_share_one() -> None:
    """Only what works at the same time can clash."""
    assert checked_keys({"pause": "q", "quit": "p"}) == {"pause": "q", "quit": "p"}
    assert checked_keys({"gpu.longer": "g"}) == {"gpu.longer": "g"}
    assert checked_keys({"pause": ".", "help": "f1, ctrl+h"}) == {"pause": "full_stop", "help": "f1,ctrl+h"}


@pytest.mark.parametrize("key", ["a", "Z", "?", "+", "f12", "ctrl+a", "shift+left", "space", "pageup", "question_mark"])
def test_keys_that_terminals_send(key: str) -> None:
    """By their sign or by their name."""
    assert is_key(key)


def test_no_two_bindings_share_a_key_as_delivered() -> None:
    """Within one view a key means one thing, unless the view means it instead of what it does everywhere."""
    for view in {bound.where for bound in all_bindings()}:
        keys = Counter(key for bound in all_bindings() if bound.where == view for key in bound.keys.split(","))
        assert [key for key, count in keys.items() if count > 1] == [], view


def test_ids_tell_bindings_apart() -> None:
    """An id stands for one thing, wherever it is declared."""
    words: dict[str, set[str]] = {}
    for bound in all_bindings():
        words.setdefault(bound.id, set()).add(bound.words)
    assert {name for name, told in words.items() if len(told) > 1} == set()
    assert {bound.where for bound in all_bindings()} > {EVERYWHERE, "GPU"}


def test_a_key_that_was_bound_anew_works_and_the_old_one_does_not() -> None:
    """And the help tells the new one."""

    async def scene() -> tuple[str, str, str]:
        app = story("l4", 5).app()
        app.take_settings(DashboardSection(), keys=checked_keys({"view.findings": "ctrl+f"}))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("6")
            before = app.here
            await pilot.press("ctrl+f")
            after = app.here
            await pilot.press("question_mark")
            await pilot.pause()
            return before, after, "\n".join(strip.text for strip in app.screen._compositor.render_strips())

    before, after, shown = asyncio.run(scene())
    assert (before, after) == ("overview", "findings")
    assert "Ctrl+F" in shown


@pytest.mark.golden
def test_the_documented_keys_are_those_there_are() -> None:
    """The table in docs/dashboard.md is what the bindings say."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, begin, rest = text.partition("by `make golden` -->\n")
    _, end, tail = rest.partition("<!-- end of keys -->")
    wanted = f"{head}{begin}\n{keys_as_table()}\n{end}{tail}"
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        DOCUMENT.write_text(wanted, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == wanted
