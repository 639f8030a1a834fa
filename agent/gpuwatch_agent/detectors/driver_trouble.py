"""Whether it is the driver as a whole that can't be used, and not single GPUs."""

from gpuwatch_agent.detectors.window import Window
from gpuwatch_agent.model.errors import DriverUnavailableError, LibraryMissingError
from gpuwatch_agent.model.frame import NO_GPUS, Trouble

_KINDS = frozenset(
    {DriverUnavailableError.kind, *(one.kind for one in DriverUnavailableError.__subclasses__()), NO_GPUS}
)
_OF_MACHINES_WITHOUT_GPUS = frozenset({LibraryMissingError.kind, NO_GPUS})


def driver_trouble(window: Window) -> Trouble | None:
    """What the driver itself says, or what was said in its stead; a machine that never had a GPU has lost none."""
    trouble = window.frame.trouble
    if trouble is None or trouble.kind not in _KINDS:
        return None
    return trouble if window.gpus or trouble.kind not in _OF_MACHINES_WITHOUT_GPUS else None
