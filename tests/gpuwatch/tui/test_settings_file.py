import os
import tomllib
from pathlib import Path

import pytest

from gpuwatch.tui.settings_file import SettingNotSavedError, save_settings, with_value
from gpuwatch_agent.config import load_config


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[dashboard]\ntheme = "light"\n'),
        ("# mine\n[agent]\nx = 1", '# mine\n[agent]\nx = 1\n\n[dashboard]\ntheme = "light"\n'),
        ("[dashboard]\nmouse = false # why\n\n[groups]\n", '[dashboard]\nmouse = false # why\ntheme = "light"\n\n[groups]\n'),
        ('[dashboard]\n  theme   =  "dark"   # at night\nmouse = true', '[dashboard]\n  theme   =  "light"   # at night\nmouse = true'),
        ("[dashboard]\n'theme' = 'dark'\n", "[dashboard]\n'theme' = \"light\"\n"),
        ('dashboard.theme = "dark"\n[agent]\n', 'dashboard.theme = "light"\n[agent]\n'),
        ('dashboard.mouse = true\n[agent]\n', 'dashboard.theme = "light"\ndashboard.mouse = true\n[agent]\n'),
        ('dashboard = { theme = "dark", mouse = true }\n', 'dashboard = { theme = "light", mouse = true }\n'),
        ("dashboard = { mouse = true }\n", 'dashboard = { theme = "light", mouse = true }\n'),
        ("[dashboard] # looks\r\nmouse = true\r\n", '[dashboard] # looks\r\nmouse = true\r\ntheme = "light"\r\n'),
        ('[hardware]\nkmsg = """\n[dashboard]\ntheme = "x"\n"""\n', '[hardware]\nkmsg = """\n[dashboard]\ntheme = "x"\n"""\n\n[dashboard]\ntheme = "light"\n'),
        ("[dashboard.x]\ny = 1\n", None),
    ],
)  # fmt: skip
def test_one_value_changes_and_every_other_letter_stays(before: str, after: str | None) -> None:
    """However the file is written; and what it means is the same but for that value."""
    changed = with_value(before, "dashboard", "theme", "light")
    if after is not None:
        assert changed == after
    wanted = tomllib.loads(before)
    wanted.setdefault("dashboard", {})["theme"] = "light"
    assert tomllib.loads(changed) == wanted


def test_the_same_value_changes_nothing() -> None:
    """A file is not touched for nothing; true is not 1."""
    text = "[dashboard]\nmouse=true\nhistory_s=300"
    assert with_value(text, "dashboard", "mouse", True) == text
    assert with_value(text, "dashboard", "history_s", 600) == text.replace("300", "600")


def test_what_cannot_be_changed_safely_is_refused() -> None:
    """A section that is no table is its owner's matter."""
    with pytest.raises(SettingNotSavedError, match=r'Set dashboard\.theme = "light" there'):
        with_value("dashboard = 3\n", "dashboard", "theme", "light")


def test_saving_makes_the_file_and_its_folder(tmp_path: Path) -> None:
    """On the first change there is none; it is the owner's alone, and is read at the next start."""
    file = tmp_path / "gpuwatch" / "config.toml"
    save_settings(file, "dashboard", {"theme": "contrast", "read_only": True, "history_s": 600})
    settings = load_config(file).dashboard
    assert (settings.theme, settings.read_only, settings.history_s) == ("contrast", True, 600)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_links_and_rights_stay(tmp_path: Path) -> None:
    """People keep such files in a repository of their own, and may let others read them."""
    real, link = tmp_path / "real.toml", tmp_path / "config.toml"
    real.write_text("# kept\n")
    real.chmod(0o644)
    link.symlink_to(real)
    save_settings(link, "dashboard", {"mouse": False})
    assert link.is_symlink()
    assert real.read_text() == "# kept\n\n[dashboard]\nmouse = false\n"
    assert real.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("what", ["file", "folder", "not a folder", "not UTF-8", "broken"])
def test_what_cannot_be_written_is_told_and_left_alone(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence with the file and the reason; the settings hold all the same."""
    file = tmp_path / "config.toml"
    file.write_bytes({"not UTF-8": b"# \xff\n", "broken": b"[dashboard\n"}.get(what, b"# kept\n"))
    before = file.read_bytes()
    if what == "not a folder":
        file = file / "config.toml"
    # Root may write anything; what the system would say to others is said here.
    denied = {"file": lambda *_: False, "folder": os.access}.get(what, os.access)
    monkeypatch.setattr(os, "access", denied)
    if what == "folder":

        def full(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("gpuwatch.tui.settings_file.tempfile.mkstemp", full)
    with pytest.raises(
        SettingNotSavedError, match=r"^The settings hold until you quit, but were not saved: .*config\.toml"
    ):
        save_settings(file, "dashboard", {"theme": "light"})
    assert (tmp_path / "config.toml").read_bytes() == before
