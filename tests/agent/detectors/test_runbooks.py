"""Every kind of finding has a page that says what to do."""

from pathlib import Path

import pytest

from gpuwatch_agent.detectors.registry import DETECTORS

PAGES = Path(__file__).parents[3] / "docs" / "runbooks"
HEADINGS = ("## What it means", "## How to confirm", "## What to do", "## When it is harmless")


@pytest.mark.parametrize("kind", [detector.kind for detector in DETECTORS])
def test_a_kind_has_its_page(kind: str) -> None:
    """With all four parts, under its own name: findings link to it."""
    text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {kind}: ")
    assert [heading for heading in HEADINGS if heading not in text] == []
