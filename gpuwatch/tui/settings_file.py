"""Changes single values in config.toml and leaves every other letter of it as its owner wrote it."""

import contextlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gpuwatch_agent.model.errors import GpuwatchError
from gpuwatch_agent.toml_lines import key_lines

Value = str | int | bool
_WRITTEN = r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,#}\]]+)"""
_NEW_FILE = "# gpuwatch's configuration; docs/configuration.md tells what can be set.\n"


class SettingNotSavedError(GpuwatchError):
    """The file could not be written, or not without touching what is not ours."""


def save_settings(path: Path, section: str, values: Mapping[str, Value]) -> None:
    """Put the values into that section of the file, which is made where there is none."""
    # A link stays a link: people keep such files in a repository of their own.
    target = Path(os.path.realpath(path))
    try:
        before = target.read_bytes().decode("utf-8") if target.exists() else _NEW_FILE
        after = before
        for name, value in values.items():
            after = with_value(after, section, name, value)
        if after != before:
            _replace(target, after)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise SettingNotSavedError(
            f"The settings hold until you quit, but were not saved: {path}: {reason}.",
            "Make that file yours to write, or name another with --config.",
        ) from error


def with_value(text: str, section: str, name: str, value: Value) -> str:
    """The text with that one value changed or added; everything else letter by letter as it was."""
    written = msgspec.json.encode(value).decode()
    wanted = tomllib.loads(text)
    table = wanted.setdefault(section, {})
    if isinstance(table, dict) and table.get(name) == value and type(table.get(name)) is type(value):
        return text
    if isinstance(table, dict):
        table[name] = value
        for changed in _attempts(text, section, name, written):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                if tomllib.loads(changed) == wanted:
                    return changed
    raise SettingNotSavedError(
        f"The file writes [{section}] in a way that can't be changed safely.",
        f"Set {section}.{name} = {written} there.",
    )


def _attempts(text: str, section: str, name: str, written: str) -> list[str]:
    """Ways to write it, the most natural first; the caller keeps the first that means what it should."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if "\r\n" in text else "\n"
    places = key_lines(text)
    attempts: list[str] = []
    at = places.get((section, name))
    if at is not None:
        line = lines[at - 1]
        for found in re.finditer(rf"""["']?{re.escape(name)}["']?\s*=\s*{_WRITTEN}""", line):
            changed = line[: found.start(1)] + written + line[found.end(1) :]
            attempts.append("".join([*lines[: at - 1], changed, *lines[at:]]))
        return attempts
    begin = places.get((section,))
    if begin is not None:
        own = [place for path, place in places.items() if len(path) == 2 and path[0] == section]
        for after in (max(own, default=begin), begin):
            closed = [line if line.endswith("\n") else line + end for line in lines[:after]]
            attempts.append("".join([*closed, f"{name} = {written}{end}", *lines[after:]]))
        inline = re.sub(r"\{\s*", f"{{ {name} = {written}, ", lines[begin - 1], count=1)
        attempts.append("".join([*lines[: begin - 1], inline, *lines[begin:]]))
        attempts.append("".join([*lines[: begin - 1], f"{section}.{name} = {written}{end}", *lines[begin - 1 :]]))
    gap = "" if not text or text.endswith(("\n\n", "\r\n\r\n")) else end if text.endswith("\n") else end * 2
    attempts.append(f"{text}{gap}[{section}]{end}{name} = {written}{end}")
    return attempts


def _replace(target: Path, text: str) -> None:
    """All of it or nothing: a full disk must not cost anybody their configuration."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(13, "it may only be read", str(target))
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).chmod(mode)
        Path(scratch).replace(target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
