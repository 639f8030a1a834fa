"""What the driver itself asks for (NVML field 230, since R570): the best verdict there is, so others quote it."""

from msgspec import Struct, structs

from gpuwatch_agent.model.finding import Severity
from gpuwatch_agent.model.gpu import Gpu


class Verdict(Struct, frozen=True):
    """What is asked for, in words, and how it is done."""

    asked: str
    action: str


_VERDICTS = {
    "reset": Verdict("reset the GPU", "Stop what runs on it, then `sudo nvidia-smi --gpu-reset -i {gpu}`."),
    "reboot": Verdict("reboot the node", "Drain the node and reboot it; a reset of the GPU is not enough."),
    "drain_p2p": Verdict(
        "end peer-to-peer traffic with it",
        "Stop the jobs that use this GPU together with others over NVLink or PCIe; those that use it alone may go on.",
    ),
    "drain_and_reset": Verdict(
        "drain it, then reset it",
        "Let what runs on it end, start nothing new, then `sudo nvidia-smi --gpu-reset -i {gpu}`.",
    ),
}


def asks_for(gpu: Gpu) -> Verdict | None:
    """What the driver wants done with this GPU, `None` where that is nothing or not known."""
    verdict = _VERDICTS.get(gpu.recovery_action or "none")
    return structs.replace(verdict, action=verdict.action.format(gpu=gpu.index)) if verdict is not None else None


def severity_of(gpu: Gpu) -> Severity:
    """Whether the GPU can be worked with until then: without peer traffic it still can."""
    return "warning" if gpu.recovery_action == "drain_p2p" else "critical"
