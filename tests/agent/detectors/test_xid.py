"""Xids: which are told, how grave, for how long."""

from pathlib import Path

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.xid import XidDetector
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.model.gpu import Gpu, RemappedRows, Xid
from support.windows import START, Change, Story

GPUS = [Gpu(index=index, uuid=f"GPU-{index}", xids=[]) for index in range(3)]


def reporting(index: int, code: int, *seconds: int, detail: str | None = None) -> Change:
    """This GPU's count of this code goes up at these seconds."""

    def change(gpu: Gpu, second: int) -> Gpu:
        seen = [at for at in seconds if at <= second]
        if gpu.index != index or not seen:
            return gpu
        xid = Xid(code=code, count=len(seen), last_seen=START + seen[-1], detail=detail)
        return structs.replace(gpu, xids=[*(gpu.xids or []), xid])

    return change


def both(one: Change, other: Change) -> Change:
    return lambda gpu, second: other(one(gpu, second), second)


@pytest.mark.parametrize("code", [48, 62, 64, 74, 79, 95, 119, 120, 140])
def test_hardware_xids_are_critical_at_once(code: int) -> None:
    """No second look: the driver has said it."""
    story = Story(GPUS, [XidDetector()])
    assert story.passes(5, reporting(1, code, 5)) == []
    (finding,) = story.passes(1, reporting(1, code, 5))
    assert (finding.severity, finding.gpus) == ("critical", [1])
    assert f"Xid {code} (" in finding.summary


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68, 94, 137])
def test_application_xids_never_page(code: int) -> None:
    """They are info, however the program died."""
    (finding,) = Story(GPUS, [XidDetector()]).passes(20, reporting(1, code, 5))
    assert finding.severity == "info"


def test_the_program_is_named_where_the_kernel_names_it() -> None:
    """From the detail of the kernel's line; without one nobody is named."""
    detail = "pid=4711, name=python3, Ch 00000008"
    (finding,) = Story(GPUS, [XidDetector()]).passes(20, reporting(1, 13, 5, detail=detail))
    assert "of python3 (PID 4711)" in finding.summary
    (finding,) = Story(GPUS, [XidDetector()]).passes(20, reporting(1, 13, 5, detail="pid='<unknown>', name=<unknown>"))
    assert "PID" not in finding.summary


def test_an_xid_is_told_for_ten_minutes_after_the_last() -> None:
    """By configuration; a new one of the same code starts the time anew."""
    story = Story(GPUS, [XidDetector()])
    change = reporting(1, 79, 5, 300)
    story.passes(310, change)
    assert len(story.passes(580, change)) == 1
    assert story.passes(20, change) == []
    short = Story(GPUS, [XidDetector()], {"xid": {"hold_s": 30.0}})
    assert short.passes(60, reporting(1, 79, 5)) == []


def test_a_program_fault_again_and_again_on_one_gpu_is_a_question() -> None:
    """Five within an hour: a warning at most."""
    story = Story(GPUS, [XidDetector()])
    change = reporting(1, 31, 10, 20, 30, 40, 50)
    assert [finding.severity for finding in story.passes(45, change)] == ["info"]
    (finding,) = story.passes(10, change)
    assert finding.severity == "warning"
    assert "same program, or the GPU?" in str(finding.cause)


def test_a_program_fault_on_several_gpus_is_the_programs() -> None:
    """What follows the program speaks for the boards."""
    everywhere = both(reporting(1, 31, 10, 20, 30, 40, 50), reporting(2, 31, 10, 20, 30, 40))
    findings = Story(GPUS, [XidDetector()]).passes(60, everywhere)
    assert [finding.severity for finding in findings] == ["info", "info"]


def test_the_clean_up_after_another_xid_is_not_told() -> None:
    """Xid 45 beside 48 says nothing new; alone it is info."""
    findings = Story(GPUS, [XidDetector()]).passes(20, both(reporting(1, 48, 5), reporting(1, 45, 6)))
    assert [finding.evidence["xid"] for finding in findings] == [48]


def test_a_lost_gpus_xid_is_told_too() -> None:
    """Xids come from beside the GPU: that it no longer answers does not hide why."""

    def change(gpu: Gpu, second: int) -> Gpu:
        return structs.replace(reporting(1, 79, 5)(gpu, second), state="lost" if gpu.index == 1 else "ok")

    assert [finding.gpus for finding in Story(GPUS, [XidDetector()]).passes(10, change)] == [[1]]


def test_an_unknown_code_is_a_warning_that_says_where_to_look() -> None:
    """Newer drivers have codes that this table has not."""
    (finding,) = Story(GPUS, [XidDetector()]).passes(10, reporting(0, 998, 5))
    assert (finding.severity, finding.evidence["class"]) == ("warning", "unknown")
    assert "Look Xid 998 up" in finding.action


def test_overrides_change_what_an_xid_is_worth(tmp_path: Path) -> None:
    """A site's judgement wins over ours, for known and for unknown codes."""
    file = tmp_path / "xids.toml"
    file.write_text('[xid.31]\nseverity = "critical"\n\n[xid.79]\nseverity = "info"\naction = "Call Ada."\n')
    story = Story(GPUS, [XidDetector()], {"xid": {"overrides_file": str(file)}})
    found = story.passes(20, both(reporting(0, 31, 5), reporting(1, 79, 5)))
    assert [(finding.severity, finding.gpus) for finding in found] == [("critical", [0]), ("info", [1])]
    assert found[1].action == "Call Ada."


def test_a_wrong_overrides_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """Not when the first Xid comes."""
    with pytest.raises(UsageError, match=r"missing\.toml can't be read"):
        Story(GPUS, [XidDetector()], {"xid": {"overrides_file": str(tmp_path / "missing.toml")}})


def test_the_drivers_own_verdict_is_a_finding() -> None:
    """Reset and reboot are critical, the end of peer traffic a warning; none and unknown say nothing."""
    for action, severity in (("reset", "critical"), ("reboot", "critical"), ("drain_p2p", "warning")):
        gpus = [GPUS[0], structs.replace(GPUS[1], recovery_action=action)]
        (finding,) = Story(gpus, [XidDetector()]).passes(1)
        assert (finding.severity, finding.gpus) == (severity, [1])
    for nothing in ("none", None):
        assert Story([structs.replace(GPUS[0], recovery_action=nothing)], [XidDetector()]).passes(5) == []


def test_a_verdict_that_another_finding_tells_is_not_told_twice() -> None:
    """Where a row waits for the reset, row_remap says so."""
    waiting = structs.replace(GPUS[0], recovery_action="reset", remapped_rows=RemappedRows(pending=True))
    assert Story([waiting], [XidDetector()]).passes(5) == []


def test_no_watch_no_xids() -> None:
    """Where nobody watches for Xids nothing is known, and nothing said."""
    assert Story([structs.replace(GPUS[0], xids=None)], [XidDetector()]).passes(5) == []
