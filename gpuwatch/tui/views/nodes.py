"""Several agents at a glance."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class NodesView(View):
    """Several agents at a glance."""

    name_of: ClassVar[str] = "nodes"
    title: ClassVar[str] = "Nodes"
    short: ClassVar[str] = "Node"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
