"""Everything gpuwatch can fail with. Each message is a sentence for a person and says what to do next.

GpuwatchError
├── UsageError              the command line, a configuration file or a request is wrong
├── DriverUnavailableError  nothing can be read from the driver
│   ├── LibraryMissingError     libnvidia-ml.so.1 is not there
│   ├── DriverNotLoadedError    the library is there, the kernel driver is not
│   ├── DriverMismatchError     library and kernel driver are of different versions
│   ├── DriverPermissionError   the device files may not be opened
│   └── DriverSilentError       the driver did not answer in time
├── DeviceError             one GPU can't be read, the others can
│   ├── GpuLostError
│   └── GpuNeedsResetError
├── AgentUnreachableError   no agent answers where one was expected
└── AddressInUseError       somebody listens there already
"""

from typing import ClassVar


class GpuwatchError(Exception):
    """The base of all; `exit_code` is what a command ends with, `action` what the reader can do."""

    exit_code: ClassVar[int] = 3
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, action: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        return f"{self.message} {self.action}".strip()


class UsageError(GpuwatchError):
    """What was asked for can't be understood."""

    exit_code = 2
    kind = "usage"


class DriverUnavailableError(GpuwatchError):
    """No GPU can be read because the driver as a whole can't be used."""

    kind = "driver_unavailable"


class LibraryMissingError(DriverUnavailableError):
    """NVML's shared library was not found."""

    kind = "library_missing"

    def __init__(self) -> None:
        super().__init__(
            "No NVIDIA driver found: the library libnvidia-ml.so.1 is not on this machine.",
            "Install the NVIDIA driver (in a container: start it with --gpus all), or look at a simulated machine with "
            "--sim dgx-h100-8.",
        )


class DriverNotLoadedError(DriverUnavailableError):
    """The kernel module is not loaded."""

    kind = "driver_not_loaded"

    def __init__(self) -> None:
        super().__init__(
            "The NVIDIA driver is installed but not loaded.",
            "Try `sudo modprobe nvidia`; if that fails, `dmesg | grep -i nvrm` says why (often Secure Boot, or a kernel "
            "update without a driver rebuild).",
        )


class DriverMismatchError(DriverUnavailableError):
    """Userspace library and kernel module are of different versions."""

    kind = "driver_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "The NVIDIA library and the loaded kernel driver are of different versions, as after an upgrade without a reboot.",
            "Reboot, or stop all GPU programs and reload the module (`sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; "
            "sudo modprobe nvidia`).",
        )


class DriverPermissionError(DriverUnavailableError):
    """The caller may not open the device files."""

    kind = "driver_permission"

    def __init__(self) -> None:
        super().__init__(
            "The NVIDIA driver refuses this user.",
            "Check who may open /dev/nvidiactl and /dev/nvidia0 (`ls -l /dev/nvidia*`): often the user must be in the "
            "group `video` or `render`, or the container needs the devices.",
        )


class DriverSilentError(DriverUnavailableError):
    """The driver was asked and did not answer within the deadline."""

    kind = "driver_silent"

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"The NVIDIA driver has not answered for {waited_s:g} s.",
            "Without persistence mode a first call can take seconds (`sudo nvidia-smi -pm 1`, or run nvidia-persistenced); "
            "if it stays silent, `dmesg | grep -i xid` may name the GPU that hangs.",
        )


class DeviceError(GpuwatchError):
    """One GPU can't be read at all at present."""

    kind = "device"


class GpuLostError(DeviceError):
    """The GPU has fallen off the bus or is otherwise inaccessible."""

    kind = "gpu_lost"

    def __init__(self) -> None:
        super().__init__(
            "The GPU is lost: it does not answer on the PCIe bus.",
            "Look for Xid 79 in `dmesg`; a reboot or power cycle brings it back, if its seating, power and cooling are good.",
        )


class GpuNeedsResetError(DeviceError):
    """The driver wants a reset before it lets anybody use the GPU again."""

    kind = "gpu_needs_reset"

    def __init__(self) -> None:
        super().__init__(
            "The GPU needs a reset before it can be used again.",
            "Stop what runs on it and what watches it (this agent, too), then `sudo nvidia-smi --gpu-reset -i N`; if that is "
            "refused, reboot.",
        )


class ProbeError(GpuwatchError):
    """A probe could not be run, or came to nothing."""

    kind = "probe"


class TorchMissingError(ProbeError):
    """Probes run on torch, which gpuwatch does without otherwise."""

    kind = "torch_missing"

    def __init__(self) -> None:
        super().__init__(
            "Probes run on torch, which is not installed beside gpuwatch.",
            "Install it with `pip install 'gpuwatch-node[probes]'`.",
        )


class GpuBusyError(ProbeError):
    """What the probe would measure is in use."""

    kind = "gpu_busy"


class AgentUnreachableError(GpuwatchError):
    """No gpuwatch agent answers at the address."""

    kind = "agent_unreachable"


class AddressInUseError(GpuwatchError):
    """The address the agent should listen on is taken."""

    kind = "address_in_use"
