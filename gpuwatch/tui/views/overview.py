"""The first view: every GPU at a glance, who works there, and the host."""

from typing import ClassVar

from gpuwatch.render.columns import choose, draw_row, draw_title
from gpuwatch.render.facts import facts_of, worst
from gpuwatch.render.gpu_columns import Row, gpu_columns
from gpuwatch.render.header import host_line
from gpuwatch.render.process_table import process_lines
from gpuwatch.tui.canvas import Drawing, Hit
from gpuwatch.tui.moment import Moment
from gpuwatch.tui.views.base import View


class Overview(View):
    """One line a GPU, the host, and the processes below."""

    name_of: ClassVar[str] = "overview"
    title: ClassVar[str] = "Overview"
    short: ClassVar[str] = "Over"

    def picture(self, moment: Moment, width: int, height: int) -> Drawing:
        """The table of GPUs and below it what there is room for."""
        frame = moment.frame
        rows = []
        for gpu in frame.gpus:
            facts = facts_of(gpu, frame.gpus)
            mark = gpu.state if gpu.state != "ok" else worst(fact.severity for fact in facts)
            rows.append(Row(gpu=gpu, siblings=frame.gpus, facts=facts, mark=mark))
        layout = choose(gpu_columns(rows, width), width)
        lines = [draw_title(layout), *(draw_row(layout, position) for position in range(len(rows)))]
        hits = [Hit(position + 1, 0, width, f"app.open_gpu({row.gpu.uuid!r})") for position, row in enumerate(rows)]
        host = host_line(frame, width)
        if host is not None:
            lines.append(host)
        lines += process_lines(frame, width, max(0, height - len(lines) - 3))
        return Drawing(lines=lines, hits=hits)
