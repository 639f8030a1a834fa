"""PCIe errors: rates over a minute, never totals."""

from msgspec import structs

from gpuwatch_agent.detectors.pcie_errors import PcieErrorsDetector
from gpuwatch_agent.detectors.pcie_speed import replays_per_min
from gpuwatch_agent.model.gpu import Gpu, Pcie
from support.windows import Change, Story

LINK = Pcie(gen=5, gen_max=5, width=16, width_max=16, replays=150, errors={"fatal": 0, "non_fatal": 0, "lcrc": 0})
GPUS = [Gpu(index=index, uuid=f"GPU-{index}", pcie=LINK) for index in range(2)]


def replaying(per_s: float, since: int = 0, until: int = 10_000) -> Change:
    """GPU 1, as the slow tier reads it: every ten seconds."""

    def change(gpu: Gpu, second: int) -> Gpu:
        counted = int(per_s * (min(second, until) // 10 * 10 - since)) if second >= since else 0
        return structs.replace(gpu, pcie=structs.replace(LINK, replays=150 + counted)) if gpu.index == 1 else gpu

    return change


def with_errors(name: str, count: int, since: int = 20) -> Change:
    def change(gpu: Gpu, second: int) -> Gpu:
        errors = {**(LINK.errors or {}), name: count if second >= since else 0}
        return structs.replace(gpu, pcie=structs.replace(LINK, errors=errors)) if gpu.index == 1 else gpu

    return change


def test_the_bound_is_that_of_the_specification() -> None:
    """31 a minute at ×16 Gen5, as DCGM reckons; a link that is not known has none."""
    assert replays_per_min(5, 16) == 30.72
    assert replays_per_min(None, 16) is None
    assert replays_per_min(9, 16) is None


def test_replays_beyond_the_bound_are_a_warning() -> None:
    """The count against its limit, and what to do."""
    (finding,) = Story(GPUS, [PcieErrorsDetector()]).passes(90, replaying(4.0))
    assert (finding.severity, finding.gpus) == ("warning", [1])
    assert finding.evidence["limit_per_min"] == 31
    assert finding.evidence["replays_per_min"] == 240


def test_a_sound_links_replays_are_none_of_our_business() -> None:
    """A total of 150, a few each minute, and a single burst as a link trains."""
    assert Story(GPUS, [PcieErrorsDetector()]).passes(200) == []
    assert Story(GPUS, [PcieErrorsDetector()]).passes(200, replaying(0.4)) == []
    assert Story(GPUS, [PcieErrorsDetector()]).passes(200, replaying(500.0, since=20, until=30)) == []


def test_it_ends_below_half_the_bound() -> None:
    """Between half the bound and the bound what was said stays said."""
    story = Story(GPUS, [PcieErrorsDetector()])
    story.passes(90, replaying(0.6))
    story.passes(200, lambda gpu, second: replaying(0.35)(gpu, second + 200))
    assert [finding.gpus for finding in story.frame.findings] == [[1]]
    assert story.passes(200) == []


def test_fatal_errors_are_critical_at_once_and_stay_a_while() -> None:
    """One is enough; ten minutes later it is history."""
    story = Story(GPUS, [PcieErrorsDetector()])
    (finding,) = story.passes(21, with_errors("fatal", 1))
    assert (finding.severity, finding.gpus) == ("critical", [1])
    assert len(story.passes(590, with_errors("fatal", 1))) == 1
    assert story.passes(80, with_errors("fatal", 1)) == []


def test_errors_that_were_not_corrected_are_a_warning() -> None:
    """Non-fatal ones: data was lost on the way, and asked for again."""
    (finding,) = Story(GPUS, [PcieErrorsDetector()]).passes(60, with_errors("non_fatal", 3))
    assert (finding.severity, finding.evidence["non_fatal"]) == ("warning", 3)


def test_totals_at_the_start_absent_counters_and_resets_are_no_errors() -> None:
    """Errors counted before the agent looked; none told; a counter that the driver's restart set to nothing."""
    old = [structs.replace(GPUS[0], pcie=structs.replace(LINK, replays=90_000, errors={"fatal": 7}))]
    assert Story(old, [PcieErrorsDetector()]).passes(90) == []
    assert Story([structs.replace(GPUS[0], pcie=None)], [PcieErrorsDetector()]).passes(30) == []

    def reset(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(gpu, pcie=structs.replace(LINK, replays=150 if second < 30 else 0))

    assert Story(GPUS, [PcieErrorsDetector()]).passes(90, reset) == []
