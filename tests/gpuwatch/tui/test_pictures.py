"""The README's pictures of the dashboard are what it draws: `make golden` draws them anew."""

import asyncio
import os
from pathlib import Path

import pytest

from support.dashboard_picture import picture
from support.dashboard_screen import Scene

_ROOT = Path(__file__).parents[3]
_FOLDER = _ROOT / "docs" / "pictures"
_PICTURES = {
    "overview": (Scene("overview", "dgx-h100-8+hot@5~375", seconds=420), (132, 32), "dark"),
    "groups": (Scene("groups", "dgx-h100-8+hot@5~330", "groups", seconds=420), (120, 40), "dark"),
    "gpu": (Scene("gpu", "dgx-h100-8+hot@5~240", "gpu", seconds=420), (132, 36), "light"),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", _PICTURES)
def test_pictures_of_the_dashboard_are_true(name: str) -> None:
    """Each is drawn anew from a simulated machine, compared, and shown in the README."""
    scene, size, theme = _PICTURES[name]
    drawn = asyncio.run(picture(scene, size, theme, title="gpuwatch"))
    file = _FOLDER / f"{name}.svg"
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(drawn, encoding="utf-8")
    assert drawn == file.read_text(encoding="utf-8"), f"{file.name} differs: `make golden`, and look at it"
    assert f"docs/pictures/{name}.svg" in (_ROOT / "README.md").read_text()
