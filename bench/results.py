"""What was measured, as a table for people: each figure beside its target and beside the peers'."""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

OURS = "gpuwatch"


class Figure(NamedTuple):
    """One number of one program; `target` is the most it may be, or the least where more is better."""

    measurement: str
    program: str
    value: float | None
    unit: str
    target: float | None = None
    more_is_better: bool = False
    note: str = ""

    def verdict(self) -> str:
        """Whether the target is met, in words."""
        if self.target is None or self.value is None:
            return ""
        met = self.value >= self.target if self.more_is_better else self.value <= self.target
        sign = "at least" if self.more_is_better else "at most"
        return f"{sign} {self.target:g} {self.unit}: {'met' if met else 'MISSED'}"


def shown(value: float) -> str:
    """Three figures that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio_to_ours(figure: Figure, figures: Iterable[Figure]) -> str:
    """How many times our number a peer's is."""
    ours = [other.value for other in figures if other.measurement == figure.measurement and other.program == OURS]
    if figure.program == OURS or not ours or not ours[0] or figure.value is None:
        return ""
    return f"{figure.value / ours[0]:.2f}x"


def last_line(note: str) -> str:
    """What fits a cell: of a traceback, its last line says what happened."""
    return (note.strip().splitlines() or [""])[-1].replace("|", "/")[-140:]


def table(figures: list[Figure]) -> str:
    """A Markdown table that is aligned as plain text too."""
    rows = [("measurement", "program", "value", "to ours", "target", "note")]
    order = [figure.measurement for figure in figures]
    for figure in sorted(figures, key=lambda figure: order.index(figure.measurement)):
        value = f"{shown(figure.value)} {figure.unit}" if figure.value is not None else "not measured"
        ratio = ratio_to_ours(figure, figures)
        rows.append((figure.measurement, figure.program, value, ratio, figure.verdict(), last_line(figure.note)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def cpu_model() -> str:
    """The processor, as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def report(figures: list[Figure], versions: str) -> str:
    """The results file: when, where, with what, and the table."""
    day = time.strftime("%Y-%m-%d", time.localtime())
    return (
        "# gpuwatch beside its peers\n\n"
        f"{day}, {cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n"
        "All on the same fake NVML library: 8 H100 at work, 30 processes that exist.\n"
        f"{versions}\n\n{table(figures)}"
    )
