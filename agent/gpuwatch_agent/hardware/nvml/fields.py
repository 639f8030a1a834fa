"""NVML field values: many readings in one call, each with an answer code of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from gpuwatch_agent.hardware.nvml.binding import ASK_AGAIN_AFTER_S, NvmlError, judge, judge_one, nvml
from gpuwatch_agent.model.absence import Absence

FieldId = tuple[int, int]  # field id, scope id (a link's number, or all ones for the sum)
ALL_LINKS = 0xFFFFFFFF

_VALUE_OF_TYPE = {
    nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


class FieldBatch:
    """A fixed set of fields that is fetched at once; those the board does not have are left out for a while."""

    def __init__(self, wanted: Sequence[FieldId], clock: Callable[[], float]) -> None:
        self._wanted = tuple(wanted)
        self._clock = clock
        self._asked = self._wanted
        self._ask_all_at = 0.0
        self._values: dict[FieldId, float] = {}
        self._absent: dict[FieldId, Absence] = {}
        self._narrow: set[FieldId] = set()

    def fetch(self, handle: object) -> None:
        """Fetch afresh; single fields fail for themselves."""
        now = self._clock()
        if now >= self._ask_all_at:
            self._asked, self._absent = self._wanted, {}
            self._ask_all_at = now + ASK_AGAIN_AFTER_S
        self._values = {}
        if not self._asked:
            return
        try:
            answers = nvml.nvmlDeviceGetFieldValues(handle, self._asked)
        except NvmlError as error:
            self._absent = dict.fromkeys(self._wanted, judge(error.value))
            if error.value == nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                self._asked = ()
            return
        self._sort_out(answers)

    def _sort_out(self, answers: Sequence[Any]) -> None:
        useless: set[FieldId] = set()
        for key, answer in zip(self._asked, answers, strict=False):
            code = answer.nvmlReturn
            if code == 0:
                name = _VALUE_OF_TYPE.get(answer.valueType)
                if name is None:
                    self._absent[key] = Absence.IMPLAUSIBLE
                else:
                    self._values[key] = getattr(answer.value, name)
                    self._absent.pop(key, None)
                    if answer.valueType == nvml.NVML_VALUE_TYPE_UNSIGNED_INT:
                        self._narrow.add(key)
                continue
            # An old driver calls a field it has never heard of an invalid argument.
            too_old = code == nvml.NVML_ERROR_INVALID_ARGUMENT
            self._absent[key] = reason = Absence.DRIVER_TOO_OLD if too_old else judge_one(code)
            if reason in {Absence.NOT_SUPPORTED, Absence.DRIVER_TOO_OLD, Absence.NO_PERMISSION}:
                useless.add(key)
        if useless:
            self._asked = tuple(key for key in self._asked if key not in useless)

    def get(self, field: int, scope: int = 0) -> float | None:
        return self._values.get((field, scope))

    def whole(self, field: int, scope: int = 0) -> int | None:
        """The value as an integer; a fraction, infinity or not-a-number is no count."""
        value = self._values.get((field, scope))
        if isinstance(value, float):
            return int(value) if value.is_integer() else None
        return value

    def is_narrow(self, field: int, scope: int = 0) -> bool:
        """Whether the driver gave the field as a 32-bit word, which wraps."""
        return (field, scope) in self._narrow

    def reason(self, field: int, scope: int = 0) -> Absence:
        """Why the last fetch gave nothing for a field."""
        return self._absent.get((field, scope), Absence.NO_ANSWER)
