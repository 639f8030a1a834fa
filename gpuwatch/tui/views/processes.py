"""Everything that holds a GPU, to sort, filter, look into and signal."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class ProcessesView(View):
    """Everything that holds a GPU, to sort, filter, look into and signal."""

    name_of: ClassVar[str] = "processes"
    title: ClassVar[str] = "Processes"
    short: ClassVar[str] = "Proc"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
