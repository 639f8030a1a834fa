"""What the same boards reach elsewhere, from a table; where it has no row, nothing is expected."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from gpuwatch_agent.probes.result import Expected, ProbedGpu

_GIB = 1 << 30
_TABLE = Path(__file__).with_name("expectations.json")
FABRICS = {
    "nvswitch": "over NVSwitch",
    "nvlink": "over NVLink",
    "nvlink_partial": "partly over NVLink",
    "pcie_p2p": "over PCIe with P2P",
    "pcie": "over PCIe",
}


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    board: str
    """Part of the board's name."""
    fabric: str
    busbw: dict[int, float]
    """GB/s by the number of GPUs."""
    at_gib: float
    source: str


@cache
def table() -> list[_Row]:
    """All rows."""
    return msgspec.json.decode(_TABLE.read_bytes(), type=list[_Row])


def expected_busbw(gpus: Sequence[ProbedGpu], fabric: str | None) -> Expected | None:
    """What these GPUs can be expected to reach; boards that differ are as good as nobody knows."""
    names = {gpu.name for gpu in gpus}
    name = names.pop() if len(names) == 1 else None
    if name is None or fabric is None:
        return None
    for row in table():
        if row.board in name and row.fabric == fabric and len(gpus) in row.busbw:
            return Expected(
                busbw_gb_per_s=row.busbw[len(gpus)],
                at_bytes=int(row.at_gib * _GIB),
                what=f"{len(gpus)}×{name.removeprefix('NVIDIA ')} {FABRICS[fabric]}",
                source=row.source,
            )
    return None
