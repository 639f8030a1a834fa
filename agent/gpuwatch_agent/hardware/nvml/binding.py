"""The one door to NVML: the real binding, and its error codes in our words.

Nothing else imports pynvml. A code means one of three things: the whole driver is unusable (raised as a
`DriverUnavailableError`), this GPU is (raised as a `DeviceError`), or only this value is not to be had (an `Absence`).
"""

from collections.abc import Callable
from typing import TypeVar

import pynvml

from gpuwatch_agent.hardware.base import RawReading
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.errors import (
    DriverMismatchError,
    DriverNotLoadedError,
    DriverPermissionError,
    DriverUnavailableError,
    GpuLostError,
    GpuNeedsResetError,
    GpuwatchError,
    LibraryMissingError,
)

T = TypeVar("T")

nvml = pynvml
NvmlError = pynvml.NVMLError

# What an answer code says of one value; codes that are not listed are the driver's own trouble.
_ABSENCES: dict[int, Absence] = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: Absence.NOT_SUPPORTED,
    pynvml.NVML_ERROR_DEPRECATED: Absence.NOT_SUPPORTED,
    pynvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED: Absence.NOT_SUPPORTED,
    pynvml.NVML_ERROR_NOT_FOUND: Absence.NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION: Absence.NO_PERMISSION,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: Absence.DRIVER_TOO_OLD,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: Absence.DRIVER_TOO_OLD,
    pynvml.NVML_ERROR_NO_DATA: Absence.NO_ANSWER,
    pynvml.NVML_ERROR_NOT_READY: Absence.NO_ANSWER,
    pynvml.NVML_ERROR_TIMEOUT: Absence.NO_ANSWER,
}

_DEVICE_ERRORS: dict[int, Callable[[], GpuwatchError]] = {
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuLostError,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: GpuLostError,
    pynvml.NVML_ERROR_RESET_REQUIRED: GpuNeedsResetError,
}

_DRIVER_ERRORS: dict[int, Callable[[], GpuwatchError]] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: LibraryMissingError,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: DriverNotLoadedError,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: DriverMismatchError,
    pynvml.NVML_ERROR_UNINITIALIZED: DriverNotLoadedError,
}

# Answers that won't change from one second to the next: not worth asking again at once.
_LASTING = frozenset({Absence.NOT_SUPPORTED, Absence.DRIVER_TOO_OLD, Absence.NO_PERMISSION})

ASK_AGAIN_AFTER_S = 300.0


def judge(code: int) -> Absence:
    """Why a value is absent; raises where the code condemns the GPU or the driver."""
    if code in _DEVICE_ERRORS:
        error = _DEVICE_ERRORS[code]()
        raise error
    if code in _DRIVER_ERRORS:
        error = _DRIVER_ERRORS[code]()
        raise error
    return _ABSENCES.get(code, Absence.DRIVER_ERROR)


def judge_one(code: int) -> Absence:
    """Why one value among many is absent: it may condemn its GPU, the whole driver only a whole call's code can."""
    return Absence.DRIVER_ERROR if code in _DRIVER_ERRORS else judge(code)


def opening_error(code: int) -> GpuwatchError:
    """What an error of nvmlInit means for the person who started us."""
    if code == pynvml.NVML_ERROR_NO_PERMISSION:
        return DriverPermissionError()
    if code in _DRIVER_ERRORS:
        return _DRIVER_ERRORS[code]()
    return DriverUnavailableError(
        f"The NVIDIA driver refused to start: {NvmlError(code)} (NVML code {code}).",
        "`dmesg | grep -i nvrm` may say more; `nvidia-smi` shows whether other tools fare the same.",
    )


class Questions:
    """Asks one GPU, and remembers what it can't answer so as not to ask that every second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unanswerable: dict[object, tuple[Absence, float]] = {}

    def ask(self, reading: RawReading, name: str, call: Callable[..., T], *args: object) -> T | None:
        """The call's answer, or `None` with the reason noted in the reading under `name`."""
        key = (name, call)
        remembered = self._unanswerable.get(key)
        if remembered is not None:
            if self._clock() < remembered[1]:
                reading.absent[name] = remembered[0]
                return None
            del self._unanswerable[key]
        try:
            return call(*args)
        except NvmlError as error:
            reason = judge(error.value)
        except (UnicodeDecodeError, ValueError):  # the binding decodes names; a broken one is no answer
            reason = Absence.IMPLAUSIBLE
        if reason in _LASTING:
            self._unanswerable[key] = (reason, self._clock() + ASK_AGAIN_AFTER_S)
        reading.absent[name] = reason
        return None

    def forget(self) -> None:
        """Ask everything again, as after a change of mode."""
        self._unanswerable.clear()
