from pathlib import Path

from gpuwatch_agent.config import Config, HardwareSection
from gpuwatch_agent.hardware.choose import make_hardware
from gpuwatch_agent.hardware.nvml.hardware import NvmlHardware
from gpuwatch_agent.hardware.nvml.xid_events import KernelLogWatch
from gpuwatch_agent.hardware.simulated.hardware import SimulatedHardware


def test_the_driver_unless_a_machine_is_named() -> None:
    """A name means a simulated machine, none this machine's driver."""
    assert isinstance(make_hardware(Config()), NvmlHardware)
    assert isinstance(make_hardware(Config(hardware=HardwareSection(simulate="l4"))), SimulatedHardware)


def test_the_kernel_log_is_the_one_that_was_configured(tmp_path: Path) -> None:
    """The setting reaches the hardware, which would read that file and no other."""
    hardware = make_hardware(Config(hardware=HardwareSection(kmsg=str(tmp_path / "kmsg"))))
    assert isinstance(hardware, NvmlHardware)
    assert hardware._kernel_log == str(tmp_path / "kmsg")


def test_an_empty_kernel_log_is_left_alone() -> None:
    """Empty means not to read it, and the reason says that this was wanted."""
    assert "hardware.kmsg" in str(KernelLogWatch("", lambda: 0.0).start(lambda _: None))
