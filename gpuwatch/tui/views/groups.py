"""Tensor-parallel groups, rank beside rank on the same scales."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class GroupsView(View):
    """Tensor-parallel groups, rank beside rank on the same scales."""

    name_of: ClassVar[str] = "groups"
    title: ClassVar[str] = "Groups"
    short: ClassVar[str] = "Grp"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
