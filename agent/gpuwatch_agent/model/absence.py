"""Why a value is not there: a reading that is absent is `None`, and its reason stays visible beside it."""

from enum import StrEnum


class Absence(StrEnum):
    """One reason why a metric has no value; the value of each member is what JSON carries."""

    NOT_SUPPORTED = "not_supported"
    DRIVER_TOO_OLD = "driver_too_old"
    NO_PERMISSION = "no_permission"
    GPU_LOST = "gpu_lost"
    NEEDS_RESET = "needs_reset"
    IMPLAUSIBLE = "implausible"
    SECOND_READING = "second_reading"
    NO_ANSWER = "no_answer"
    GPU_IDLE = "gpu_idle"
    SWITCHED_OFF = "switched_off"
    DRIVER_ERROR = "driver_error"
    LEFT_OUT = "left_out"
    NOT_WATCHED = "not_watched"


SENTENCES: dict[Absence, str] = {
    Absence.NOT_SUPPORTED: "not supported here",
    Absence.DRIVER_TOO_OLD: "this driver is too old to tell",
    Absence.NO_PERMISSION: "no permission to read it",
    Absence.GPU_LOST: "the GPU is lost",
    Absence.NEEDS_RESET: "the GPU needs a reset",
    Absence.IMPLAUSIBLE: "the driver gave a value that can't be true",
    Absence.SECOND_READING: "needs a second reading",
    Absence.NO_ANSWER: "the driver has not answered yet",
    Absence.GPU_IDLE: "not measured while the GPU is idle, so as not to keep it awake",
    Absence.SWITCHED_OFF: "switched off here after it crashed the sampler",
    Absence.DRIVER_ERROR: "the driver answered with an error",
    Absence.LEFT_OUT: "left out by the configuration",
    Absence.NOT_WATCHED: "nobody watches for it here",
}
