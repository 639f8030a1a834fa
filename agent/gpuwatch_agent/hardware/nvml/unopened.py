"""A GPU that the driver lists but does not let anybody open: it keeps its row, with the reason."""

from typing import NoReturn

from gpuwatch_agent.hardware.base import Identity, Tier
from gpuwatch_agent.model.errors import DeviceError


class UnopenedDevice:
    """Answers every question with the error that met us when opening it."""

    def __init__(self, index: int, error: DeviceError) -> None:
        self.index = index
        self._error = error

    def begin(self, tier: Tier) -> NoReturn:  # noqa: ARG002  # the protocol's parameter
        raise self._error

    def identity(self) -> Identity:
        return Identity(index=self.index, uuid=f"unopened:{self.index}")

    def _refuse(self, *_: object) -> NoReturn:
        raise self._error

    activity = codecs = memory = bar1 = power = thermals = limits = fans = clocks = throttle = profile = _refuse
    pcie_traffic = pcie_link = pcie_health = nvlink_traffic = nvlinks = memory_health = modes = mig = _refuse
    processes = placement = _refuse
