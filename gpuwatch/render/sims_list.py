"""`gpuwatch sims`: what can be simulated, with words to copy."""

from collections.abc import Mapping

from gpuwatch.render.ansi import Line, Span, to_text
from gpuwatch.render.text import clean, wrap

_EXAMPLES = (
    "gpuwatch status --sim dgx-h100-8",
    "gpuwatch status --watch 1 --sim dgx-h100-8+hot@5",
    "gpuwatch topo --sim dgx-h100-8+nvlink-down@2",
)


def render_simulations(
    machines: Mapping[str, str], faults: Mapping[str, str], grammar: str, *, width: int, colour: bool, unicode: bool
) -> str:
    """Names on the left, what they are on the right, no line wider than `width`."""
    width = max(width, 40)
    names = max(map(len, [*machines, *faults]), default=0)
    lines: list[Line] = [[Span(" machines", "bold")]]
    lines += _entries(machines, names, width)
    lines += [[], [Span(" faults", "bold"), Span(f"  {grammar}", "dim")]]
    lines += _entries(faults, names, width)
    lines += [[], [Span(" for example", "bold")], *([Span(f"   {example}")] for example in _EXAMPLES)]
    return to_text(lines, width=width, colour=colour, unicode=unicode)


def _entries(entries: Mapping[str, str], names: int, width: int) -> list[Line]:
    lines: list[Line] = []
    for name, description in entries.items():
        for position, text in enumerate(wrap(clean(description), width - names - 5) or [""]):
            shown = name if position == 0 else ""
            lines.append([Span(f"   {shown:<{names}}  ", "accent"), Span(text)])
    return lines
