"""One GPU's everything, with charts of the last minutes to an hour."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class GpuView(View):
    """One GPU's everything, with charts of the last minutes to an hour."""

    name_of: ClassVar[str] = "gpu"
    title: ClassVar[str] = "GPU"
    short: ClassVar[str] = "GPU"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
