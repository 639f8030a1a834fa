"""The pages that say of each kind of finding what it means, how to confirm it and what to do."""

from pathlib import Path

_HERE = Path(__file__).parent
# A wheel carries the pages beside this file; a checkout, also where it is installed editable, has them under docs.
_PLACES = (_HERE / "runbooks", _HERE.parents[1] / "docs" / "runbooks")


def runbook_kinds() -> list[str]:
    """The kinds that have a page, in alphabetical order."""
    return sorted(page.stem for page in _place().glob("*.md"))


def runbook(kind: str) -> str | None:
    """The page as Markdown, `None` where there is none of that name; names are looked up, never opened as paths."""
    if kind not in runbook_kinds():
        return None
    return (_place() / f"{kind}.md").read_text(encoding="utf-8")


def _place() -> Path:
    return next((place for place in _PLACES if place.is_dir()), _PLACES[0])
