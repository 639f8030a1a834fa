"""Whether a GPU works, what is held on it, and whether it is there for the taking."""

from gpuwatch_agent.detectors.window import GpuView
from gpuwatch_agent.model.gpu import Gpu
from gpuwatch_agent.model.process import Process

WINDOW_S = 60.0
BUSY_PCT = 5.0
# A context keeps some boards awake: a T4 then draws 26 of its 70 W, so that this is well above what idle costs.
IDLE_POWER_SHARE = 0.5
# Driver and display leave traces: less than this is nobody's work.
_TRACES_BYTES = 1 << 30
_TRACES_SHARE = 0.05


def does_nothing(view: GpuView, busy_pct: float = BUSY_PCT, power_share: float = IDLE_POWER_SHARE) -> bool:
    """Whether it has neither worked nor drawn power for a minute; unknown is no."""
    gpu = view.gpu
    # A reading that has not come this second is no work; a minute without most of them is unknown.
    if not view.answers or (gpu.utilization_pct is not None and gpu.utilization_pct > busy_pct):
        return False
    most = view.most("utilization_pct", WINDOW_S)
    if most is None or most > busy_pct:
        return False
    limit_w = gpu.power_limit_default_w or gpu.power_limit_w
    power_w = view.mean("power_w", WINDOW_S)
    return power_w is None or limit_w is None or power_w <= power_share * limit_w


def computing(gpu: Gpu) -> list[Process]:
    """The processes that are there to compute, the largest first; a desktop's are not."""
    found = [one for one in gpu.processes or () if one.kind != "graphics"]
    return sorted(found, key=lambda one: -(one.memory_bytes or 0))


def is_free(view: GpuView) -> bool:
    """Whether another job could have it: whole, nobody computes on it, nothing is held, it does nothing."""
    gpu = view.gpu
    if not view.answers or gpu.processes is None or computing(gpu) or gpu.display_active:
        return False
    if gpu.mig is not None and gpu.mig.enabled:
        return False
    held = gpu.memory_used_bytes
    if held is None or held > max(_TRACES_BYTES, _TRACES_SHARE * (gpu.memory_total_bytes or 0)):
        return False
    return does_nothing(view)
