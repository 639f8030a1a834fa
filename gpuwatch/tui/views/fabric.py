"""How the GPUs are wired, and how the links fare."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class FabricView(View):
    """How the GPUs are wired, and how the links fare."""

    name_of: ClassVar[str] = "fabric"
    title: ClassVar[str] = "Fabric"
    short: ClassVar[str] = "Fab"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
