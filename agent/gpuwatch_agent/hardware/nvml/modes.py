"""Settings of a board, its place in the NVSwitch fabric, and the driver's own verdict on it."""

from gpuwatch_agent.hardware.base import Modes
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.hardware.nvml.fields import FieldBatch
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Fabric

RECOVERY_FIELD = nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
_RECOVERY = {0: "none", 1: "reset", 2: "reboot", 3: "drain_p2p", 4: "drain_and_reset"}
_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
_FABRIC_STATES = {1: "not_started", 2: "in_progress", 3: "completed"}
_TRUE = 1
# Two bits each: degraded bandwidth, route recovery, route unhealthy, access time-out recovery.
_HEALTH_SHIFTS = (0, 2, 4, 6)


def read_modes(handle: object, questions: Questions, fields: FieldBatch) -> Modes:
    reading = Modes()
    reading.persistence_mode = plausible.flag(
        questions.ask(reading, "persistence_mode", nvml.nvmlDeviceGetPersistenceMode, handle)
    )
    mode = questions.ask(reading, "compute_mode", nvml.nvmlDeviceGetComputeMode, handle)
    reading.compute_mode = _COMPUTE_MODES.get(mode) if mode is not None else None
    reading.display_active = plausible.flag(
        questions.ask(reading, "display_active", nvml.nvmlDeviceGetDisplayActive, handle)
    )
    reading.fabric = _fabric(handle, questions, reading)
    action = fields.whole(RECOVERY_FIELD)
    reading.recovery_action = _RECOVERY.get(action) if action is not None else None
    if reading.recovery_action is None:
        reading.absent["recovery_action"] = fields.reason(RECOVERY_FIELD) if action is None else Absence.IMPLAUSIBLE
    return reading


def _fabric(handle: object, questions: Questions, reading: Modes) -> Fabric | None:
    info = nvml.c_nvmlGpuFabricInfoV_t()
    if questions.ask(reading, "fabric", nvml.nvmlDeviceGetGpuFabricInfoV, handle, nvml.byref(info)) is None:
        return None
    state = _FABRIC_STATES.get(info.state)
    if state is None:
        reading.absent["fabric"] = Absence.NOT_SUPPORTED
        return None
    verdicts = [(info.healthMask >> shift) & 0x3 for shift in _HEALTH_SHIFTS]
    known = [verdict for verdict in verdicts if verdict]
    return Fabric(
        state=state,
        status="success" if info.status == 0 else str(nvml.NVMLError(info.status)).lower(),
        clique=plausible.count(info.cliqueId),
        healthy=not any(verdict == _TRUE for verdict in known) if known else None,
    )
