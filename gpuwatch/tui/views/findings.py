"""What is wrong and what was, with evidence, action and runbook."""

from typing import ClassVar

from gpuwatch.render.ansi import Span
from gpuwatch.tui.canvas import Drawing
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class FindingsView(View):
    """What is wrong and what was, with evidence, action and runbook."""

    name_of: ClassVar[str] = "findings"
    title: ClassVar[str] = "Findings"
    short: ClassVar[str] = "Find"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """Drawn by its builder."""
        return Drawing(lines=[[Span(f"  {len(moment.frame.gpus)} GPUs", "dim")]])
