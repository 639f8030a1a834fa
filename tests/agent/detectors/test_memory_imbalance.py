"""One rank that holds more than its siblings."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.memory_imbalance import MemoryImbalanceDetector
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process
from support.ranks import GIB, ranks
from support.windows import Change, Story

DETECTORS = [MemoryImbalanceDetector()]


def more(index: int, gib: float) -> Change:
    def change(gpu: Gpu, second: int) -> Gpu:
        used = gpu.memory_used_bytes or 0
        return structs.replace(gpu, memory_used_bytes=used + int(gib * GIB)) if gpu.index == index else gpu

    return change


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize(("gib", "severity"), [(6, "info"), (16, "warning")])
def test_more_than_its_siblings_is_told_and_a_warning_when_it_runs_out(count: int, gib: float, severity: str) -> None:
    """With room left it is information; where little is free it is the first to fail."""
    (finding,) = Story(ranks(count), DETECTORS).passes(40, more(1, gib))
    assert (finding.gpus, finding.severity) == ([1], severity)
    assert finding.evidence["more_pct_of_board"] == pytest.approx(100 * gib / 80, abs=0.1)


def test_a_little_more_is_how_shards_are() -> None:
    """A head, a tokenizer, a context: a few percent."""
    assert Story(ranks(8), DETECTORS).passes(60, more(0, 3)) == []


def test_what_a_stranger_holds_is_not_the_groups() -> None:
    """That is noisy_neighbour's to say."""
    stranger = Process(pid=9, user="mallory", command="python3 x.py", memory_bytes=10 * GIB)

    def change(gpu: Gpu, second: int) -> Gpu:
        gpu = more(1, 10)(gpu, second)
        return structs.replace(gpu, processes=[*(gpu.processes or []), stranger]) if gpu.index == 1 else gpu

    assert Story(ranks(4), DETECTORS).passes(60, change) == []


def test_loading_and_boards_of_other_sizes_are_not_compared() -> None:
    """Ranks load one after the other; a larger board may hold more."""

    def loading(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, memory_used_bytes=min(61, max(0, second - 3 * gpu.index)) * GIB)

    assert Story(ranks(4), DETECTORS).passes(70, loading) == []
    gpus = ranks(2)
    gpus[1] = structs.replace(gpus[1], memory_total_bytes=141 * GIB, memory_used_bytes=110 * GIB)
    assert Story(gpus, DETECTORS).passes(60) == []


def test_layer_splits_are_uneven_on_purpose() -> None:
    """`--tensor-split 0.7,0.3` is a choice."""
    assert Story(ranks(2, split="layer"), DETECTORS).passes(60, more(0, 12)) == []


def test_it_stays_while_it_hovers_and_ends_when_it_is_over() -> None:
    """Hysteresis at seven tenths of the threshold."""
    told = Story(ranks(4), DETECTORS)
    assert len(told.passes(40, more(2, 6))) == 1
    assert len(told.passes(100, more(2, 3.2))) == 1
    told.passes(70)
    assert told.frame.findings == []


def test_without_readings_nothing_is_said() -> None:
    """A rank whose memory is unknown is no rank with none."""
    gpus = ranks(4)
    gpus[0] = structs.replace(gpus[0], memory_used_bytes=None)
    assert Story(gpus, DETECTORS).passes(60) == []
