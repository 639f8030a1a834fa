"""Active measurements: what they would do here, and what they found."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class ProbesView(View):
    """Active measurements: what they would do here, and what they found."""

    name_of: ClassVar[str] = "probes"
    title: ClassVar[str] = "Probes"
    short: ClassVar[str] = "Prob"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
