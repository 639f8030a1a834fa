"""Memory errors: what has come since the agent looks."""

from msgspec import structs

from gpuwatch_agent.detectors.ecc_uncorrected import EccUncorrectedDetector
from gpuwatch_agent.model.gpu import Ecc, Gpu
from support.windows import Change, Story

CLEAN = Ecc(enabled=True, corrected=4000, uncorrected=3, corrected_volatile=12, uncorrected_volatile=0)
GPUS = [Gpu(index=index, uuid=f"GPU-{index}", ecc=CLEAN) for index in range(2)]


def with_ecc(ecc: Ecc | None, since: int = 30) -> Change:
    return lambda gpu, second: structs.replace(gpu, ecc=ecc) if gpu.index == 1 and second >= since else gpu


def storming(per_s: float, until: int = 100_000) -> Change:
    def change(gpu: Gpu, second: int) -> Gpu:
        grown = int(per_s * (min(second, until) // 10 * 10))
        ecc = structs.replace(CLEAN, corrected=4000 + grown, corrected_volatile=12 + grown)
        return structs.replace(gpu, ecc=ecc) if gpu.index == 1 else gpu

    return change


def test_uncorrected_errors_are_critical_at_once_for_an_hour() -> None:
    """What was computed with them is lost; an hour later it is in the history."""
    story = Story(GPUS, [EccUncorrectedDetector()], {"ecc_uncorrected": {"hold_s": 600.0}})
    change = with_ecc(structs.replace(CLEAN, uncorrected=5, uncorrected_volatile=2))
    (finding,) = story.passes(31, change)
    assert (finding.severity, finding.gpus) == ("critical", [1])
    assert "2 memory errors that could not be corrected" in finding.summary
    assert len(story.passes(590, change)) == 1
    assert [finding.severity for finding in story.passes(90, change)] == ["warning"]


def test_boards_that_count_only_one_way_are_judged_by_it() -> None:
    """The total over the board's life alone, or the volatile count alone."""
    for ecc in (Ecc(uncorrected=4), Ecc(uncorrected_volatile=1)):
        start = Ecc(
            uncorrected=3 if ecc.uncorrected else None, uncorrected_volatile=0 if ecc.uncorrected_volatile else None
        )
        story = Story([structs.replace(gpu, ecc=start) for gpu in GPUS], [EccUncorrectedDetector()])
        assert [finding.severity for finding in story.passes(40, with_ecc(ecc))] == ["critical"]


def test_errors_from_before_are_a_warning_until_the_reset() -> None:
    """The volatile count starts anew at each reset: no reset has been since, and the bad place is still in use."""
    story = Story(GPUS, [EccUncorrectedDetector()])
    (finding,) = story.passes(30, with_ecc(structs.replace(CLEAN, uncorrected_volatile=2), since=0))
    assert (finding.severity, finding.gpus) == ("warning", [1])


def test_totals_of_the_past_are_no_news() -> None:
    """Thousands corrected and some uncorrected over the board's life: healthy nodes have these."""
    assert Story(GPUS, [EccUncorrectedDetector()]).passes(60) == []


def test_a_storm_of_corrected_errors_is_a_warning_with_its_cause() -> None:
    """Forty a second; half an error a second is none; nor are thousands in a single reading."""
    (finding,) = Story(GPUS, [EccUncorrectedDetector()]).passes(90, storming(40.0))
    assert (finding.severity, "again and again" in str(finding.cause)) == ("warning", True)
    assert finding.evidence["corrected_per_min"] == 2400
    assert Story(GPUS, [EccUncorrectedDetector()]).passes(120, storming(0.5)) == []
    assert Story(GPUS, [EccUncorrectedDetector()]).passes(120, storming(900.0, until=10)) == []


def test_a_storm_that_fades_is_told_down_to_half_the_limit() -> None:
    """Raised above 100 a minute, it lasts above 50."""
    story = Story(GPUS, [EccUncorrectedDetector()])
    story.passes(90, storming(2.0))
    story.passes(180, lambda gpu, second: storming(1.2)(gpu, second + 90))
    assert len(story.frame.findings) == 1
    assert story.passes(200) == []


def test_absent_reset_and_stale_counters_are_no_errors() -> None:
    """No ECC on the board, counters that start afresh, a GPU that does not answer."""
    assert Story([structs.replace(GPUS[0], ecc=None)], [EccUncorrectedDetector()]).passes(30) == []
    assert Story(GPUS, [EccUncorrectedDetector()]).passes(90, with_ecc(Ecc(corrected=0, corrected_volatile=0))) == []
    stale = [structs.replace(GPUS[0], state="stale", ecc=structs.replace(CLEAN, uncorrected_volatile=9))]
    assert Story(stale, [EccUncorrectedDetector()]).passes(30) == []


def test_the_drivers_verdict_is_quoted() -> None:
    """Field 230 says what to do: it goes before our own advice."""

    def change(gpu: Gpu, second: int) -> Gpu:
        hurt = with_ecc(structs.replace(CLEAN, uncorrected_volatile=1))(gpu, second)
        return structs.replace(hurt, recovery_action="drain_and_reset")

    (finding,) = Story(GPUS, [EccUncorrectedDetector()]).passes(40, change)
    assert "drain it, then reset it" in str(finding.cause)
    assert "start nothing new" in finding.action
