"""What is known of Xids: a data file that ships with gpuwatch, over which a site may lay its own.

Read on first use: most nodes never see one.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.finding import Severity

XidClass = Literal["application", "hardware", "link", "driver", "info", "unknown"]
_SHIPPED = Path(__file__).with_name("xid_table.json")
_EXAMPLE = 'Write a table for each code, as [xid.79] with severity = "critical" below it.'


class XidEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"kind": "class"}):
    """One code."""

    code: Annotated[int, Meta(ge=1, le=9999)]
    name: Annotated[str, Meta(min_length=1)]
    meaning: Annotated[str, Meta(min_length=1)]
    kind: XidClass
    """Whose fault it mostly is."""
    severity: Severity
    action: Annotated[str, Meta(min_length=1)]
    source: str | None = None
    """Where the judgement comes from."""


class _Shipped(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    compared_with: str
    xids: list[XidEntry]


def look_up(code: int, overrides_file: str | None = None) -> XidEntry:
    """What is known of a code; of one that nobody has told us, that it is unknown."""
    found = xid_table(overrides_file).get(code)
    if found is not None:
        return found
    return XidEntry(
        code=code,
        name="unknown Xid",
        meaning="This version of gpuwatch does not know this code.",
        kind="unknown",
        severity="warning",
        action=f"Look Xid {code} up in NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors) and read the kernel's own "
        "line in `dmesg`; then put it into your overrides file.",
        source="https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html",
    )


@lru_cache(maxsize=4)
def xid_table(overrides_file: str | None = None) -> Mapping[int, XidEntry]:
    """Every known code, with a site's own judgements laid over it; a `UsageError` names the file and the entry."""
    table = {entry.code: entry for entry in msgspec.json.decode(_SHIPPED.read_bytes(), type=_Shipped).xids}
    if overrides_file is not None:
        for code, fields in _read_overrides(Path(overrides_file)).items():
            table[code] = _overridden(table.get(code), code, fields, overrides_file)
    return table


def _read_overrides(file: Path) -> dict[int, dict[str, object]]:
    import tomllib  # only who overrides something pays for it

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"The file of Xid overrides {file} can't be read: {reason}.", "Check its path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The file of Xid overrides {file} is not valid TOML: {error}.", _EXAMPLE) from error
    strangers = [name for name in document if name != "xid"]
    entries = document.get("xid", {})
    if strangers or not isinstance(entries, dict):
        raise UsageError(f"{file}: {strangers[0] if strangers else 'xid'} is no table of an Xid.", _EXAMPLE)
    found: dict[int, dict[str, object]] = {}
    for name, fields in entries.items():
        if not name.isdecimal() or not isinstance(fields, dict):
            raise UsageError(f"{file}, xid.{name}: this is no table of an Xid.", _EXAMPLE)
        found[int(name)] = fields
    return found


def _overridden(shipped: XidEntry | None, code: int, fields: dict[str, object], file: str) -> XidEntry:
    """A known code may be given any of its fields anew; an unknown one needs all but its source."""
    if "code" in fields:
        raise UsageError(f"{file}, xid.{code}: the code stands in the table's name.", "Leave `code` out.")
    base: dict[str, object] = msgspec.to_builtins(shipped) if shipped is not None else {"source": file}
    try:
        return msgspec.convert({**base, **fields, "code": code}, XidEntry)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{file}, xid.{code}: {error}.",
            "Allowed are name, meaning, class, severity (info, warning or critical), action and source.",
        ) from error
