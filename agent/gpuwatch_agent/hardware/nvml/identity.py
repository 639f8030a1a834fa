"""Facts of a board that do not change while it is there."""

from pathlib import Path

from gpuwatch_agent.hardware.base import Identity
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.hardware.nvml.links import text
from gpuwatch_agent.model.absence import Absence

_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
AMPERE = 7
_CLOCK_SM, _CLOCK_MEMORY = 1, 2


def read_identity(index: int, uuid: str, handle: object, questions: Questions) -> Identity:
    identity = Identity(index=index, uuid=uuid)
    for field, call in (
        ("name", nvml.nvmlDeviceGetName),
        ("serial", nvml.nvmlDeviceGetSerial),
        ("vbios_version", nvml.nvmlDeviceGetVbiosVersion),
    ):
        words = questions.ask(identity, field, call, handle)
        setattr(identity, field, text(words) if words is not None else None)
    pci = questions.ask(identity, "pci_bus_id", nvml.nvmlDeviceGetPciInfo, handle)
    identity.pci_bus_id = text(pci.busId) if pci is not None else None
    identity.numa_node = _numa_node(identity.pci_bus_id)
    if identity.numa_node is None:
        identity.absent["numa_node"] = Absence.NOT_SUPPORTED
    architecture = questions.ask(identity, "architecture", nvml.nvmlDeviceGetArchitecture, handle)
    identity.architecture = _ARCHITECTURES.get(architecture) if architecture is not None else None
    for field, clock in (("sm_clock_max_mhz", _CLOCK_SM), ("memory_clock_max_mhz", _CLOCK_MEMORY)):
        most = questions.ask(identity, field, nvml.nvmlDeviceGetMaxClockInfo, handle, clock)
        setattr(identity, field, plausible.megahertz(most))
    return identity


def _numa_node(pci_bus_id: str | None) -> int | None:
    """From sysfs: NVML tells it only on coherent platforms. The kernel says -1 where there is no NUMA."""
    if pci_bus_id is None:
        return None
    address = pci_bus_id.lower()[-12:]
    try:
        node = int(Path("/sys/bus/pci/devices", address, "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None
