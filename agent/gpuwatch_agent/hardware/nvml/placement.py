"""Where a GPU sits: CPUs beside it, and how it is joined to each other GPU."""

from collections.abc import Sequence

from gpuwatch_agent.hardware.base import Placement
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml

_ANCESTORS = {10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
_SAME_BOARD = 0
_MASK_WORDS = 32  # room for 2,048 CPUs
_P2P_READ, _P2P_WRITE = 0, 1
_P2P = {
    0: "ok",
    1: "chipset not supported",
    2: "GPU not supported",
    3: "topology not supported",
    4: "disabled by a driver setting",
    5: "not supported",
    6: "unknown",
}


def read_placement(handle: object, others: Sequence[tuple[int, object]], questions: Questions) -> Placement:
    """`others` are the indices and handles of the other GPUs."""
    reading = Placement()
    mask = questions.ask(reading, "cpu_affinity", nvml.nvmlDeviceGetCpuAffinity, handle, _MASK_WORDS)
    reading.cpu_affinity = cpu_list(mask) if mask is not None else None
    ancestors: dict[int, str] = {}
    p2p_read: dict[int, str] = {}
    p2p_write: dict[int, str] = {}
    for index, other in others:
        level = questions.ask(reading, f"ancestors.{index}", nvml.nvmlDeviceGetTopologyCommonAncestor, handle, other)
        if level is not None:
            # Two GPUs of one board share its switch.
            ancestors[index] = "PIX" if level == _SAME_BOARD else _ANCESTORS.get(level, "SYS")
        for found, way, name in ((p2p_read, _P2P_READ, "read"), (p2p_write, _P2P_WRITE, "write")):
            status = questions.ask(reading, f"p2p_{name}.{index}", nvml.nvmlDeviceGetP2PStatus, handle, other, way)
            if status is not None:
                found[index] = _P2P.get(status, "unknown")
    reading.ancestors, reading.p2p_read, reading.p2p_write = ancestors, p2p_read, p2p_write
    return reading


def cpu_list(words: Sequence[int]) -> str | None:
    """A mask in 64-bit words as Linux writes CPU lists: 0-31,64-95."""
    cpus = [word * 64 + bit for word, bits in enumerate(words) for bit in range(64) if bits >> bit & 1]
    ranges: list[str] = []
    start: int | None = None
    for position, cpu in enumerate(cpus):
        if start is None:
            start = cpu
        if position + 1 == len(cpus) or cpus[position + 1] != cpu + 1:
            ranges.append(str(start) if start == cpu else f"{start}-{cpu}")
            start = None
    return ",".join(ranges) or None
