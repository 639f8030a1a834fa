"""Bad places in memory, as the board reports them."""

import pytest
from msgspec import structs

from gpuwatch_agent.detectors.row_remap import RowRemapDetector
from gpuwatch_agent.model.finding import Finding
from gpuwatch_agent.model.gpu import Gpu, RemappedRows, RetiredPages
from support.windows import Story

BARE = Gpu(index=4, uuid="G")


def told(gpu: Gpu) -> list[Finding]:
    return Story([gpu], [RowRemapDetector()]).passes(1)


def test_a_row_that_waits_for_a_reset_is_a_warning() -> None:
    """Said at once, with what the driver asks for where it asks."""
    (finding,) = told(structs.replace(BARE, remapped_rows=RemappedRows(pending=True, failed=False, uncorrected=1)))
    assert (finding.severity, finding.gpus) == ("warning", [4])
    (finding,) = told(structs.replace(BARE, remapped_rows=RemappedRows(pending=True), recovery_action="reboot"))
    assert "asks to reboot the node" in str(finding.cause)


def test_a_row_that_could_not_be_replaced_is_critical() -> None:
    """Also where another one waits: the board is due for exchange."""
    (finding,) = told(structs.replace(BARE, remapped_rows=RemappedRows(pending=True, failed=True)))
    assert finding.severity == "critical"
    assert "exchange" in finding.action


def test_a_page_that_waits_is_a_warning_on_older_boards() -> None:
    """Before Ampere pages are retired instead."""
    (finding,) = told(structs.replace(BARE, retired_pages=RetiredPages(single_bit=2, double_bit=1, pending=True)))
    assert (finding.severity, finding.evidence["pages_double_bit"]) == ("warning", 1)


@pytest.mark.parametrize(
    "gpu",
    [
        BARE,
        structs.replace(BARE, remapped_rows=RemappedRows()),
        structs.replace(BARE, remapped_rows=RemappedRows(corrected=3, uncorrected=2, pending=False, failed=False)),
        structs.replace(BARE, retired_pages=RetiredPages(single_bit=5, double_bit=1, pending=False)),
        structs.replace(BARE, state="stale", remapped_rows=RemappedRows(pending=True)),
    ],
)
def test_what_was_repaired_long_ago_is_no_fault(gpu: Gpu) -> None:
    """Totals tell of the past; what is not told, or old, is no evidence."""
    assert told(gpu) == []
