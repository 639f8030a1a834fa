"""The table of Xids, and what a site lays over it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpuwatch_agent.detectors.xid_table import look_up, xid_table
from gpuwatch_agent.model.errors import UsageError


def test_the_table_is_broad_and_whole() -> None:
    """Every entry says what it is, what to do, and where the judgement comes from."""
    table = xid_table()
    assert len(table) >= 45
    for code, entry in table.items():
        assert code == entry.code
        assert entry.meaning.endswith("."), code
        assert entry.action.endswith((".", "`.")), code
        assert (entry.source or "").startswith("https://"), code


def test_application_xids_are_info_and_hardware_never_is() -> None:
    """The class decides who is woken."""
    for entry in xid_table().values():
        if entry.kind in {"application", "info"}:
            assert entry.severity == "info", entry
        if entry.kind == "hardware":
            assert entry.severity != "info", entry


def test_codes_known_to_page_and_known_not_to() -> None:
    """The short lists that other tools agree on."""
    assert {look_up(code).severity for code in (48, 62, 64, 74, 79, 95, 119, 120, 140)} == {"critical"}
    assert {look_up(code).kind for code in (13, 31, 43, 45, 68, 94, 137)} == {"application"}


def test_overrides_change_single_fields_and_add_codes(tmp_path: Path) -> None:
    """What is not written stays as it ships."""
    file = tmp_path / "xids.toml"
    file.write_text(
        '[xid.63]\nseverity = "warning"\n'
        '[xid.900]\nname = "ours"\nmeaning = "M."\nclass = "link"\nseverity = "critical"\naction = "A."\n'
    )
    changed, added = look_up(63, str(file)), look_up(900, str(file))
    assert (changed.severity, changed.meaning) == ("warning", look_up(63).meaning)
    assert (added.kind, added.severity, added.source) == ("link", "critical", str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[xid.79]\nseverity = "deadly"\n', r"xid\.79: .*deadly"),
        ('[xid.79]\nseverty = "info"\n', r"xid\.79: .*severty"),
        ("[xid.79]\ncode = 80\n", r"xid\.79: the code stands in the table's name"),
        ('[xid.900]\nseverity = "info"\n', r"xid\.900: .*missing required field"),
        ("[xid.seven]\n", r"xid\.seven: this is no table of an Xid"),
        ("xid = 3\n", "no table of an Xid"),
        ('[79]\nseverity = "info"\n', "79 is no table of an Xid"),
        ("[xid.79\n", "is not valid TOML"),
    ],
)
def test_a_wrong_override_is_named_by_file_and_entry(tmp_path: Path, text: str, words: str) -> None:
    """So that whoever wrote it finds it."""
    file = tmp_path / "xids.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        xid_table(str(file))
    assert str(file) in str(caught.value)


def test_the_table_is_read_on_first_use() -> None:
    """Importing every detector opens neither the table nor a TOML parser."""
    script = (
        "import sys, gpuwatch_agent.detectors.registry\n"
        "from gpuwatch_agent.detectors.xid_table import xid_table\n"
        "print(xid_table.cache_info().currsize, 'tomllib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
