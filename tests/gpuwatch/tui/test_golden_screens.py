"""The screens as text files: `make golden` writes them anew, and the difference is read before it is committed."""

import asyncio
from collections.abc import Callable

import pytest

from support.dashboard_screen import SCENES, Scene, golden_text

_PICTURES = [
    pytest.param(scene, size, id=f"{scene.name}_{size[0]}x{size[1]}") for scene in SCENES for size in scene.sizes
]


@pytest.mark.parametrize(("scene", "size"), _PICTURES)
def test_screens_are_as_they_were_looked_at(
    scene: Scene, size: tuple[int, int], golden: Callable[[str, str], None]
) -> None:
    """Words, alignment and the role of every cell's style."""
    width, height = size
    golden(f"tui_{scene.name}_{width}x{height}.txt", asyncio.run(golden_text(scene, width, height)))
