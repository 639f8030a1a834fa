"""ECC totals, remapped rows and retired pages."""

from gpuwatch_agent.hardware.base import MemoryHealth
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Ecc, RemappedRows, RetiredPages

_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE, _AGGREGATE = 0, 1
_CAUSE_SINGLE_BIT, _CAUSE_DOUBLE_BIT = 0, 1


def read_memory_health(handle: object, questions: Questions, *, has_row_remapping: bool) -> MemoryHealth:
    """What the board counts; row remapping only where the architecture has it."""
    reading = MemoryHealth()
    reading.ecc = _ecc(handle, questions, reading)
    if has_row_remapping:
        reading.remapped_rows = _remapped_rows(handle, questions, reading)
    else:
        # Some boards without row remapping answer the call with success and zeros.
        reading.absent["remapped_rows"] = Absence.NOT_SUPPORTED
    reading.retired_pages = _retired_pages(handle, questions, reading)
    return reading


def _ecc(handle: object, questions: Questions, reading: MemoryHealth) -> Ecc | None:
    mode = questions.ask(reading, "ecc", nvml.nvmlDeviceGetEccMode, handle)
    if mode is None:
        return None
    if not mode[0]:
        return Ecc(enabled=False)

    def total(name: str, error: int, counter: int) -> int | None:
        return plausible.count(
            questions.ask(reading, f"ecc.{name}", nvml.nvmlDeviceGetTotalEccErrors, handle, error, counter)
        )

    return Ecc(
        enabled=True,
        corrected=total("corrected", _CORRECTED, _AGGREGATE),
        uncorrected=total("uncorrected", _UNCORRECTED, _AGGREGATE),
        corrected_volatile=total("corrected_volatile", _CORRECTED, _VOLATILE),
        uncorrected_volatile=total("uncorrected_volatile", _UNCORRECTED, _VOLATILE),
    )


def _remapped_rows(handle: object, questions: Questions, reading: MemoryHealth) -> RemappedRows | None:
    rows = questions.ask(reading, "remapped_rows", nvml.nvmlDeviceGetRemappedRows, handle)
    if rows is None:
        return None
    corrected, uncorrected, pending, failed = rows
    return RemappedRows(
        corrected=plausible.count(corrected),
        uncorrected=plausible.count(uncorrected),
        pending=plausible.flag(pending),
        failed=plausible.flag(failed),
    )


def _retired_pages(handle: object, questions: Questions, reading: MemoryHealth) -> RetiredPages | None:
    single = questions.ask(reading, "retired_pages", nvml.nvmlDeviceGetRetiredPages, handle, _CAUSE_SINGLE_BIT)
    if single is None:
        return None
    double = questions.ask(
        reading, "retired_pages.double_bit", nvml.nvmlDeviceGetRetiredPages, handle, _CAUSE_DOUBLE_BIT
    )
    pending = questions.ask(reading, "retired_pages.pending", nvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    return RetiredPages(
        single_bit=len(single),
        double_bit=len(double) if double is not None else None,
        pending=plausible.flag(pending),
    )
