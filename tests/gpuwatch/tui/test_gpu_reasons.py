"""Why a value of a GPU is not there."""

from gpuwatch.render.ansi import Span, line_cells
from gpuwatch.tui.drawing.gpu_facts import Pair, pairs_of, why_dashes
from support.dashboard_story import story


def test_every_dash_has_its_reason_in_words_once() -> None:
    """Words that share a reason stand before it together; values that are there are not spoken of."""
    dash = [Span("–", "dim")]
    pairs = [Pair("fan", dash, "fan: no such sensor"), Pair("power", [Span("3 W")])]
    pairs.append(Pair("clock", dash, "clock: no such sensor"))
    assert why_dashes(pairs, 60) == [[Span(" – fan, clock: no such sensor", "dim")]]


def test_a_board_without_fans_says_so_within_the_column() -> None:
    """The reason of a real board's dash, never wider than the room it is given."""
    gpu = story("dgx-h100-8", 5).frames[-1].gpus[0]
    lines = why_dashes(pairs_of(gpu), 30)
    assert "fan:" in "".join(span.text for span in lines[0])
    assert all(line_cells(line) <= 30 for line in lines)
